"""HTTP mechanisms that know no feature, one in each file."""
