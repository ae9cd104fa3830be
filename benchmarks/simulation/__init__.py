"""The platform's own decisions in virtual time, on public traces, beside oracles and other schedulers."""
