"""What the control plane and the inference hosts must agree on.

Depends on msgspec, redis and the standard library only, since the hosts import
it too and Lambda ships it.
"""
