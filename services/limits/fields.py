"""Which limits a root field counts against, besides those that everything counts against.

Every mutation is named here: one that moves value, or earns it, goes on without Redis only as
slowly as one process can vouch for (decision 32). A test compares this with the schema.
"""

from collections.abc import Mapping
from typing import Final

VALUE: Final[Mapping[str, tuple[str, ...]]] = {
    "acceptInvite": ("value", "invites"),
    "adjustPoints": (),
    "cancelExchange": ("value",),
    "checkIn": ("value",),
    "completeTask": ("value",),
    "extendPoints": ("value",),
    "grantPoints": (),
    "importCoupons": (),
    "oneClickExchange": ("value", "exchanges"),
    "recordEvents": (),
    "redeemCoupon": (),
    "rejectHeldPoints": (),
    "rejectManyHeldPoints": (),
    "releaseHeldPoints": (),
    "releaseManyHeldPoints": (),
    "reverseGrant": (),
    "runExpiry": (),
    "updateExchange": (),
}
"""Mutations that move value: what a member may ask for counts against limits of its own."""

OTHER: Final[Mapping[str, tuple[str, ...]]] = {
    "acknowledgeAlert": (),
    "adjustStock": (),
    "broadcastPush": (),
    "createShare": ("shares",),
    "markPushOpened": (),
    "recordExperimentEvents": (),
    "registerDevice": ("devices",),
    "saveAchievement": (),
    "saveExperiment": (),
    "saveItem": (),
    "saveTask": (),
    "setExperimentStatus": (),
    "setWished": (),
    "submitSatisfaction": (),
    "suspendUser": (),
    "unregisterDevice": (),
    "updateProfile": (),
    "updatePushPreferences": (),
}
"""Mutations that do not."""

LIMITS_BY_FIELD: Final[Mapping[str, tuple[str, ...]]] = {**OTHER, **VALUE}
