"""A page to drop photos on (static), and the same by HTTP (api): one file (photo), a queue and its worker (jobs)."""
