"""An edge node: sends what it stores to a centre, and after a cut sends what the centre lacks."""
