"""The library of channels and pools: `from jaxdend.channels import HH, Leak`.

`CHANNELS` lists them all, variants included, by name: `CHANNELS["KA.distal"](gbar=0.02)`.
"""

from collections.abc import Callable

from jaxdend.channels.a_type import KA as KA
from jaxdend.channels.ca1_calcium import CaLCA1 as CaLCA1
from jaxdend.channels.ca1_calcium import CaNCA1 as CaNCA1
from jaxdend.channels.ca1_calcium import CaPoirazi as CaPoirazi
from jaxdend.channels.ca1_calcium import CaTCA1 as CaTCA1
from jaxdend.channels.ca1_sodium import NaCA1 as NaCA1
from jaxdend.channels.calcium import CalciumShell as CalciumShell
from jaxdend.channels.calcium_channels import CaHVA as CaHVA
from jaxdend.channels.calcium_channels import CaLVA as CaLVA
from jaxdend.channels.calcium_channels import CaTGHK as CaTGHK
from jaxdend.channels.calcium_potassium import BK as BK
from jaxdend.channels.calcium_potassium import SK as SK
from jaxdend.channels.calcium_potassium import KAhp as KAhp
from jaxdend.channels.calcium_potassium import SlowAhp as SlowAhp
from jaxdend.channels.hcn import HCN as HCN
from jaxdend.channels.hcn import Ih as Ih
from jaxdend.channels.hcn import IhHuman as IhHuman
from jaxdend.channels.hh import HH as HH
from jaxdend.channels.leak import Leak as Leak
from jaxdend.channels.m_current import Im as Im
from jaxdend.channels.m_current import KmCA1 as KmCA1
from jaxdend.channels.mainen import Ca as Ca
from jaxdend.channels.mainen import CaT as CaT
from jaxdend.channels.mainen import KCa as KCa
from jaxdend.channels.mainen import Km as Km
from jaxdend.channels.mainen import Kv as Kv
from jaxdend.channels.mainen import Na as Na
from jaxdend.channels.pospischil import PospischilK as PospischilK
from jaxdend.channels.pospischil import PospischilM as PospischilM
from jaxdend.channels.pospischil import PospischilNa as PospischilNa
from jaxdend.channels.pospischil import PospischilT as PospischilT
from jaxdend.channels.pospischil import pospischil as pospischil
from jaxdend.channels.potassium import KdrCA1 as KdrCA1
from jaxdend.channels.potassium import KPst as KPst
from jaxdend.channels.potassium import KTst as KTst
from jaxdend.channels.potassium import SKv3_1 as SKv3_1
from jaxdend.channels.sodium import Nap as Nap
from jaxdend.channels.sodium import NaTa as NaTa
from jaxdend.channels.sodium import NaTs2 as NaTs2
from jaxdend.channels.traub import Traub as Traub
from jaxdend.channels.wang_buzsaki import WangBuzsaki as WangBuzsaki
from jaxdend.mechanisms.base import AbstractMechanism

_PLAIN = (
    (Leak, HH, Traub, WangBuzsaki)
    + (NaTa, NaTs2, Nap, KPst, KTst, SKv3_1, SK, Im, Ih, CaHVA, CaLVA, CalciumShell)  # Hay
    + (Na, Kv, Km, KCa, Ca, CaT)  # Mainen, Branco
    + (PospischilNa, PospischilK, PospischilM, PospischilT)
    + (KdrCA1, KmCA1, CaLCA1, CaNCA1, CaTCA1)  # CA1
    + (IhHuman, CaTGHK, KAhp, SlowAhp)
)

CHANNELS: dict[str, Callable[..., AbstractMechanism]] = {
    **{made.__name__: made for made in _PLAIN},
    "CalciumShell.destexhe": CalciumShell.destexhe,
    "NaCA1.soma": NaCA1.soma,
    "NaCA1.dendrite": NaCA1.dendrite,
    "KA.proximal": KA.proximal,
    "KA.distal": KA.distal,
    "HCN.proximal": HCN.proximal,
    "HCN.distal": HCN.distal,
    "BK.migliore": BK.migliore,
    "BK.poirazi": BK.poirazi,
    "CaPoirazi.r_type": CaPoirazi.r_type,
    "CaPoirazi.r_type_soma": CaPoirazi.r_type_soma,
    "CaPoirazi.spike": CaPoirazi.spike,
}
