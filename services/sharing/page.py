"""The page of a link, as HTML: for people who follow it, and for whoever shows a preview of it.

Everybody gets the same: a page that knew its reader would be another one to each service that
fetches it. Previews read the tags, people are led on at once, without a script.
"""

from html import escape

from services.messages import CHINESE, ENGLISH, message
from services.sharing.preview import Preview

HEADERS = {
    # Counted anew each time, and in the words of today: what is erased must not stay in a cache.
    "cache-control": "no-store",
    "vary": "accept-language",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "content-security-policy": (
        "default-src 'none'; img-src https: http:; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'none'"
    ),
}
"""What goes with every page. Nothing on it runs, and nothing can be made to."""
_OPEN_GRAPH_LOCALES = {CHINESE: "zh_CN", ENGLISH: "en_US"}


def share_page(preview: Preview, url: str, leads_to: str | None, locale: str) -> str:
    """The page of a link at `url`, which leads on to `leads_to`, if there is anywhere to lead."""
    tags = [
        _property("og:type", "website"),
        _property("og:site_name", message(locale, "The points mall")),
        _property("og:locale", _OPEN_GRAPH_LOCALES[locale]),
        _property("og:title", preview.title),
        _property("og:description", preview.description),
        _property("og:url", url),
        _named("description", preview.description),
        _named("twitter:title", preview.title),
        _named("twitter:description", preview.description),
        *_pictures(preview),
        f'<link rel="canonical" href="{escape(url)}">',
    ]
    body = [f"<h1>{escape(preview.title)}</h1>", f"<p>{escape(preview.description)}</p>"]
    if preview.image_url is not None:
        body.append(f'<img src="{escape(preview.image_url)}" alt="">')
    if leads_to is not None:
        tags.append(f'<meta http-equiv="refresh" content="0; url={escape(leads_to)}">')
        going_on = escape(message(locale, "Continue"))
        body.append(f'<p><a href="{escape(leads_to)}">{going_on}</a></p>')
    return _document(preview.title, tags, body, locale)


def missing_page(locale: str) -> str:
    """The page of a link that leads nowhere."""
    text = message(locale, "This link leads nowhere (any more).")
    return _document(text, [], [f"<h1>{escape(text)}</h1>"], locale)


def away_page(locale: str) -> str:
    """The page while nobody can look up what a link shows."""
    text = message(locale, "We cannot show this right now. Please try again in a moment.")
    return _document(text, [], [f"<h1>{escape(text)}</h1>"], locale)


def _pictures(preview: Preview) -> list[str]:
    if preview.image_url is None:
        return [_named("twitter:card", "summary")]
    return [
        _named("twitter:card", "summary_large_image"),
        _property("og:image", preview.image_url),
        _property("og:image:alt", preview.title),
        _named("twitter:image", preview.image_url),
    ]


def _property(name: str, content: str) -> str:
    return f'<meta property="{name}" content="{escape(content)}">'


def _named(name: str, content: str) -> str:
    return f'<meta name="{name}" content="{escape(content)}">'


def _document(title: str, tags: list[str], body: list[str], locale: str) -> str:
    head = [
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="robots" content="noindex">',
        f"<title>{escape(title)}</title>",
        *tags,
    ]
    lines = [
        "<!doctype html>",
        f'<html lang="{escape(locale)}">',
        *("<head>", *head, "</head>"),
        *("<body>", *body, "</body>"),
        "</html>",
    ]
    return "\n".join(lines) + "\n"
