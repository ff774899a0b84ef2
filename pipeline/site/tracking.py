"""Checks of trackers and devices by those who know them; what they say is put in the words of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from watchline.pipeline.site.values import wrong
from watchline.streams.errors import UsageError

if TYPE_CHECKING:
    from watchline.pipeline.site.site import Tracker
    from watchline.trackers.build import TrackerChoice


def choice_of(tracker: Tracker) -> TrackerChoice:
    """Returns the choice that `build_tracker` takes.

    Raises:
        UsageError: no such tracker or preset; a site that was read has none such.
    """
    from watchline.trackers.build import TrackerChoice

    settings = tuple(f"{name}={_text(value)}" for name, value in tracker.settings.items())
    return TrackerChoice(tracker.name, tracker.preset, settings)


def check_tracker(tracker: Tracker) -> None:
    """Raises the error of a validator where no such tracker can be built."""
    from watchline.trackers.build import TrackerChoice, build_tracker

    try:
        choice = choice_of(tracker)
        build_tracker(TrackerChoice(choice.name, choice.preset, choice.settings, "python"))
    except UsageError as error:
        message = str(error).replace("--set ", "settings: ")
        for value in tracker.settings.values():
            message = message.replace(f'"{value}"', "its value") if isinstance(value, str) else message
        raise wrong(message) from None


def check_device(text: str) -> str:
    """Returns `text`; raises the error of a validator where it names no device."""
    from watchline.detectors.opening import DEVICES

    unknown = [name for name in text.split(",") if name.strip().lower() not in DEVICES]
    if unknown:
        raise wrong(f"want one or more of {', '.join(DEVICES)}, separated by commas")
    return text


def _text(value: str | float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
