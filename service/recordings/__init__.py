"""Where recordings are kept: the name of one and what a client asks of it in, what there is to send out."""
