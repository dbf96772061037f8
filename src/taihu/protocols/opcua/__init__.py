"""OPC UA Binary, as far as a flood of data changes has to be read fast; everything else is asyncua's."""
