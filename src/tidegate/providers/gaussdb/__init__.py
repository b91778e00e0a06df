"""GaussDB and openGauss as a target."""
