"""HTTP mechanisms that know no feature, a file each."""
