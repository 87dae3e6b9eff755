"""Base models of the API's requests and answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, RootModel
from pydantic_core import CoreSchema

MOST_ROWS = 500
"""Most rows of a page of a list."""


DEPRECATED: dict[str, Any] = {"deprecated": True}
"""For `Field(json_schema_extra=)`. pydantic's own `deprecated` warns the server, not clients."""


class Answer(BaseModel):
    """The body of an answer. A field that a model does not know is a bug, not an addition."""

    model_config = ConfigDict(
        extra="forbid",
        use_attribute_docstrings=True,
        # A number that JSON does not have, such as the mean of nothing.
        ser_json_inf_nan="null",
    )


class Query(BaseModel):
    """Parameters of a query string. Unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class PageQuery(Query):
    """The page of a list."""

    limit: int = Field(default=50, ge=1, le=MOST_ROWS, description="Most rows of the page.")
    cursor: str = Field(
        default="",
        max_length=600,
        description="Where the page begins: take it from `next` of the page before.",
    )


class WholePageQuery(PageQuery):
    """The page of a list that is whole on its first page, as a rule."""

    limit: int = Field(default=MOST_ROWS, ge=1, le=MOST_ROWS, description="Most rows of the page.")


class Page(Answer):
    """A page of a list."""

    next: str | None = None
    """Address of the next page, also in the header Link; null on the last."""


class RawBody(RootModel[Any]):
    """A body that the function it is for reads with the model `described`, in words of its own."""

    described: ClassVar[type[BaseModel]]

    @classmethod
    def __get_pydantic_json_schema__(
        cls, _schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        found = handler(cls.described.__pydantic_core_schema__)
        return found

    @property
    def raw(self) -> Mapping[str, Any]:
        """Decoded JSON, as it was sent."""
        return self.root  # type: ignore[no-any-return]
