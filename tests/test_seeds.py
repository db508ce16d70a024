"""Seeds that are derived from names, against the definition written out."""

import hashlib

from cellcount_lib.seeds import derived_seed


def test_a_seed_is_the_upper_63_bits_of_a_hash():
    text = hashlib.sha256(b"7/crops/3").hexdigest()
    assert derived_seed(7, "crops", 3) == int(text[:16], 16) // 2


def test_every_purpose_and_every_seed_has_its_own():
    seeds = [derived_seed(s, name, e) for s in range(5) for name in ("a", "b") for e in range(20)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
