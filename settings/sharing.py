"""Where links lead that members share."""

from string import Formatter
from urllib.parse import urlsplit

from pydantic import field_validator
from pydantic_settings import BaseSettings

from settings.environment import CONFIG

_LINK_PARTS = ("code", "kind", "target")


class SharingSettings(BaseSettings):
    """Where the public reaches the mall, and where links that members share lead.

    Without `public_url` links name the host and port that the mall itself listens on. Without
    `front_end_url` the page of a link leads nowhere.
    """

    model_config = CONFIG

    public_url: str | None = None
    front_end_url: str | None = None

    @field_validator("public_url", "front_end_url")
    @classmethod
    def _is_of_the_web(cls, url: str | None) -> str | None:
        parts = urlsplit(url or "")
        if not url:
            return None  # set to nothing is not set
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must begin with http:// or https:// and name a host")
        return url.rstrip("/")

    @field_validator("public_url")
    @classmethod
    def _has_a_path_at_most(cls, url: str | None) -> str | None:
        if url is not None and ("?" in url or "#" in url):
            raise ValueError("must end with its host or path")
        return url

    @field_validator("front_end_url")
    @classmethod
    def _can_be_filled_in(cls, template: str | None) -> str | None:
        for _, name, detail, conversion in Formatter().parse(template or ""):
            if name is not None and (name not in _LINK_PARTS or detail or conversion):
                raise ValueError("may hold {code}, {kind} and {target}, and no other braces")
        return template
