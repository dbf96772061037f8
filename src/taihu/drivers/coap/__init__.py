"""CoAP devices: resources read and observed, blockwise and under OSCORE, told what to do by their forms."""
