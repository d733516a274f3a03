"""A small SVG drawing for the page: shapes that take their colours from the page's style, safe for any text."""

from __future__ import annotations

from markupsafe import Markup, escape

__all__ = ["Drawing"]


class Drawing:
    """Shapes in drawing units, origin at the top left; ``markup`` gives the element.

    Classes are those of page.css: ``ink``, ``grid``, ``axis``, ``time`` (bars), ``ceiling`` and the like.

    Parameters
    ----------
    width, height : float
        Of the drawing, in units; a unit is a pixel where the page is as wide as ``widest``.
    label : str
        What the figure shows, for those who cannot see it.
    widest : float, optional
        Pixels of the page that the drawing takes at most; its width by default.
    narrowest : float, optional
        Pixels below which it is scrolled rather than shrunk; 0 shrinks always.
    """

    def __init__(
        self,
        width: float,
        height: float,
        label: str,
        *,
        widest: float | None = None,
        narrowest: float = 0,
    ) -> None:
        self.width, self.height = width, height
        self._style = f"max-width:{widest or width:g}px"
        if narrowest:
            self._style += f";min-width:{narrowest:g}px"
        self._label = label
        self._parts: list[str] = []

    def rect(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        *,
        kind: str = "",
        fill: str = "",
        tip: str = "",
        opacity: float = 1.0,
    ) -> None:
        """Draw a rectangle; ``tip`` shows where the pointer rests on it."""
        style = f' style="fill:{fill}"' if fill else ""
        clear = f' opacity="{opacity:.2f}"' if opacity < 1 else ""
        self._parts.append(
            f'<rect{_class(kind)} x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}"{style}{clear}'
            + (f"><title>{escape(tip)}</title></rect>" if tip else "/>")
        )

    def line(self, x1: float, y1: float, x2: float, y2: float, *, kind: str = "axis") -> None:
        """Draw a straight line."""
        self._parts.append(
            f'<line{_class(kind)} x1="{_n(x1)}" y1="{_n(y1)}" x2="{_n(x2)}" y2="{_n(y2)}"/>'
        )

    def path(
        self, commands: str, *, kind: str, fill: str = "", tip: str = "", stroke: float = 0
    ) -> None:
        """Draw a path of SVG commands; ``stroke`` is its width where the class does not say it."""
        width = f' style="stroke-width:{_n(stroke)}px"' if stroke else ""
        width = f' style="fill:{fill}"' if fill else width
        self._parts.append(
            f'<path{_class(kind)} d="{commands}"{width}'
            + (f"><title>{escape(tip)}</title></path>" if tip else "/>")
        )

    def dot(
        self, x: float, y: float, radius: float, *, kind: str = "", fill: str = "", tip: str = ""
    ) -> None:
        """Draw a circle."""
        style = f' style="fill:{fill}"' if fill else ""
        self._parts.append(
            f'<circle{_class(kind)} cx="{_n(x)}" cy="{_n(y)}" r="{_n(radius)}"{style}'
            + (f"><title>{escape(tip)}</title></circle>" if tip else "/>")
        )

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        kind: str = "",
        anchor: str = "middle",
        turned: bool = False,
    ) -> None:
        """Write one line, its middle at ``y``; ``turned`` reads from below to above."""
        turn = f' transform="rotate(-90 {_n(x)} {_n(y)})"' if turned else ""
        side = "" if anchor == "middle" else f' style="text-anchor:{anchor}"'
        self._parts.append(
            f'<text{_class(kind)} x="{_n(x)}" y="{_n(y)}"{side}{turn}>{escape(text)}</text>'
        )

    @property
    def markup(self) -> Markup:
        """The drawing as an element of the page."""
        return Markup(
            f'<svg class="fig" viewBox="0 0 {_n(self.width)} {_n(self.height)}" style="{self._style}" role="img" '
            f'aria-label="{escape(self._label)}">{"".join(self._parts)}</svg>'
        )


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""


def _n(value: float) -> str:
    """Return a coordinate with as few characters as a hundredth of a unit needs."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
