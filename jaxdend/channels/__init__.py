"""The library of channels and pools: `from jaxdend.channels import HH, Leak`.

`CHANNELS` lists them all, variants included, by name: `CHANNELS["KA.distal"](gbar=0.02)`.
"""

from collections.abc import Callable
from functools import partial

from jaxdend.channels.a_type import KA as KA
from jaxdend.channels.ca1_calcium import (
    CaLCA1 as CaLCA1,
    CaNCA1 as CaNCA1,
    CaPoirazi as CaPoirazi,
    CaTCA1 as CaTCA1,
)
from jaxdend.channels.ca1_sodium import NaCA1 as NaCA1
from jaxdend.channels.calcium import CalciumShell as CalciumShell
from jaxdend.channels.calcium_channels import CaHVA as CaHVA, CaLVA as CaLVA, CaTGHK as CaTGHK
from jaxdend.channels.calcium_potassium import BK as BK, SK as SK, KAhp as KAhp, SlowAhp as SlowAhp
from jaxdend.channels.dcaap import DCaAP as DCaAP
from jaxdend.channels.dcaap_channels import (
    DCAAP_SETS as DCAAP_SETS,
    CaHVAInactivating as CaHVAInactivating,
    KAFast as KAFast,
    KSlow as KSlow,
    dcaap_channels as dcaap_channels,
)
from jaxdend.channels.hcn import HCN as HCN, Ih as Ih, IhHuman as IhHuman
from jaxdend.channels.hh import HH as HH
from jaxdend.channels.leak import Leak as Leak
from jaxdend.channels.m_current import Im as Im, KmCA1 as KmCA1
from jaxdend.channels.mainen import Ca as Ca, CaT as CaT, KCa as KCa, Km as Km, Kv as Kv, Na as Na
from jaxdend.channels.point import LIF as LIF, AdEx as AdEx, Izhikevich as Izhikevich
from jaxdend.channels.pospischil import (
    PospischilK as PospischilK,
    PospischilM as PospischilM,
    PospischilNa as PospischilNa,
    PospischilT as PospischilT,
    pospischil as pospischil,
)
from jaxdend.channels.potassium import (
    KdrCA1 as KdrCA1,
    KPst as KPst,
    KTst as KTst,
    SKv3_1 as SKv3_1,
)
from jaxdend.channels.reversals import FixedReversals as FixedReversals
from jaxdend.channels.sodium import Nap as Nap, NaTa as NaTa, NaTs2 as NaTs2
from jaxdend.channels.traub import Traub as Traub
from jaxdend.channels.wang_buzsaki import WangBuzsaki as WangBuzsaki
from jaxdend.mechanisms.base import AbstractMechanism

_PLAIN = (
    (Leak, HH, Traub, WangBuzsaki)
    + (NaTa, NaTs2, Nap, KPst, KTst, SKv3_1, SK, Im, Ih, CaHVA, CaLVA, CalciumShell)  # Hay
    + (Na, Kv, Km, KCa, Ca, CaT)  # Mainen, Branco
    + (PospischilNa, PospischilK, PospischilM, PospischilT)
    + (KdrCA1, KmCA1, CaLCA1, CaNCA1, CaTCA1)  # CA1
    + (CaHVAInactivating, KAFast, KSlow)  # a dCaAP of ordinary channels
    + (IhHuman, CaTGHK, KAhp, SlowAhp, DCaAP, LIF)
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
    **{f"Izhikevich.{name}": partial(Izhikevich.preset, name) for name in Izhikevich.presets},
    **{f"AdEx.{name}": partial(AdEx.preset, name) for name in AdEx.presets},
}
