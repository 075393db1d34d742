"""What checks annotated types in the strict runs: a whole number is a number, as in every call."""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
