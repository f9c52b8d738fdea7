"""How the page looks: one theme, light and dark, and what Gradio has no words for."""

from pathlib import Path

from gradio.themes import Base, Soft

HERE = Path(__file__).parent
CSS = (HERE / "style.css").read_text(encoding="utf-8")
PLAYER = (HERE / "player.js").read_text(encoding="utf-8")
SCRIPTS = "".join((HERE / f"{name}.js").read_text("utf-8") for name in ("leaving", "numbers"))
TRACES = (HERE / "traces.js").read_text(encoding="utf-8")


def theme() -> Base:
    """Return the theme; its fonts are the visitor's own, so that nothing is fetched."""
    system = ("ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
    return Soft(
        primary_hue="teal",
        secondary_hue="sky",
        neutral_hue="slate",
        radius_size="md",
        font=system,
        font_mono=("ui-monospace", "SFMono-Regular", "Menlo", "monospace"),
    ).set(
        block_title_background_fill="transparent",
        block_title_background_fill_dark="transparent",
        block_title_text_color="*body_text_color",
        block_title_text_color_dark="*body_text_color",
        block_title_padding="0",
        body_text_color_subdued="*neutral_500",
        checkbox_border_color="*neutral_400",
        input_border_color="*neutral_300",
        button_secondary_background_fill_hover_dark="*neutral_700",  # also of a disabled one
        block_info_text_color="*neutral_500",
    )
