"""Registration: the poses of a recording brought to agree with one another.

Poses come from an arm's encoders through a hand-eye calibration, or from somebody's SLAM, and are some
pixels off.  That blurs the surface that all views are fused into, before anything else can go wrong.
`register` estimates them together, from depth and colour of all views.
"""

from instascene_core.registration.register import Registered, register

__all__ = ["Registered", "register"]
