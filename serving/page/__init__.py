"""The page at /, where people see predictions: plain files in `static/`, under a policy that lets nothing else in."""
