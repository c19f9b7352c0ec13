"""Modules that encoders and task networks are built of: recurrent layers, softmaxes, CRF, character CNN."""
