"""Running a prepared document."""

import gc
from weakref import ref

import strawberry

from resolvers.operation_requests import OperationRequest
from resolvers.operations import Operations


class _Context:
    """What a weak reference can point to."""


@strawberry.type
class _Query:
    @strawberry.field
    async def word(self, info: strawberry.Info) -> str:
        return type(info.context).__name__


async def test_an_operation_leaves_no_garbage_behind() -> None:
    """Its context dies with it: nothing of a request waits for the garbage collector."""
    operations = Operations(strawberry.Schema(_Query), lambda _: None)
    request = OperationRequest("{ word }", None, None, None)
    prepared = operations.documents.prepare(request.query)
    context = _Context()
    died = ref(context)
    gc.disable()
    try:
        result = await operations.execute(prepared, request, context)
        del context
        assert (result.data, died()) == ({"word": "_Context"}, None)
    finally:
        gc.enable()
