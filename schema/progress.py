"""How far along something is, for tasks and achievements alike."""

import strawberry


@strawberry.type
class TaskProgress:
    """How often of how often."""

    current: int
    target: int
