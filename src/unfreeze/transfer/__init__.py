"""Transfer policies: which parameters are trained, and with what learning rate."""
