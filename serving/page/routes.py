"""The page and its files, each with an ETag, so that a browser asks again and gets an empty 304."""

from pathlib import Path

from flask import Blueprint, Response, send_from_directory

STATIC = Path(__file__).parent / "static"
SAMPLES = Path(__file__).parent.parent / "samples"
# Nothing from elsewhere, no inline script or style, no frame around it, no form that leaves.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def blueprint() -> Blueprint:
    """The routes GET /, GET /page/... and GET /page/samples/..."""
    page = Blueprint("page", __name__)

    @page.get("/")
    def index() -> Response:
        """The page."""
        return send_from_directory(STATIC, "index.html")

    @page.get("/page/<name>")
    def file(name: str) -> Response:
        """A script, a style sheet or the icon of the page."""
        return send_from_directory(STATIC, name)

    @page.get("/page/samples/<name>")
    def sample(name: str) -> Response:
        """A sample image that the service ships."""
        return send_from_directory(SAMPLES, name)

    @page.after_request
    def guard(response: Response) -> Response:
        response.headers.update(HEADERS)
        return response

    return page


def samples() -> list[str]:
    """Names of the sample images."""
    return sorted(path.name for path in SAMPLES.glob("*.png"))
