"""The click commands, one file each: take options, call one verb, report its result. Decide nothing."""
