"""HTTP devices: polled, observed by server-sent events, and told what to do by their forms."""
