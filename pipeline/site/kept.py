"""What a site keeps of people seen, and for how long; see `site` for the whole."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from watchline.pipeline.site.part import Part
from watchline.pipeline.site.values import FilePath, Sha256, Size, Text, wrong


class Faces(Part):
    """What describes the faces of people seen. Their best pictures are looked at, not whole frames."""

    detector: Annotated[
        Text, Field(min_length=1, description="what finds faces, a name of the catalog, such as centerface, or a file")
    ] = "yunet"
    detector_sha256: Annotated[Sha256, Field(description="of its file; another one is refused; empty: any")] = ""
    model: Annotated[
        Text, Field(min_length=1, description="what makes vectors of faces, a name of the catalog or a file")
    ] = "sface"
    sha256: Annotated[Sha256, Field(description="of its file; another one is refused; empty: any")] = ""


class Sightings(Part):
    """What is kept of people seen, so that it can be searched: vectors, times and ways; pictures only if asked for."""

    path: Annotated[
        FilePath | None, Field(description="file of the store; null: sightings.db in the folder of results")
    ] = None
    model: Annotated[
        Text, Field(min_length=1, description="what makes vectors of people, a name of the catalog or a file")
    ] = "osnet-x0-25"
    sha256: Annotated[Sha256, Field(description="of the file; another one is refused; empty: any")] = ""
    device: Annotated[
        Text, Field(description="where it runs: auto, cpu, openvino, cuda, ... or several to be tried in turn")
    ] = "cpu"
    faces: Annotated[
        Faces | None, Field(description="faces are described, too; null: they are not; {}: with all defaults")
    ] = None
    workers: Annotated[int, Field(ge=1, le=64, description="threads that make vectors, of one processor each")] = 1
    budget: Annotated[
        float,
        Field(
            ge=0.01,
            le=64,
            description="processors that may go into vectors, all workers together; people beyond it have none",
        ),
    ] = 0.25
    crops: Annotated[bool, Field(description="pictures of people are kept, too, cut out of the frames")] = False
    crops_a_track: Annotated[
        int, Field(ge=1, le=32, description="pictures of a person that a vector is made of, the best ones")
    ] = 5
    part_s: Annotated[
        float, Field(ge=5, le=3600, description="seconds after which a long track is stored in parts")
    ] = 60.0

    @field_validator("device")
    @classmethod
    def _is_device(cls, value: str) -> str:
        from watchline.pipeline.site.tracking import check_device

        return check_device(value)

    @model_validator(mode="after")
    def _has_workers_for_it(self) -> Self:
        if self.budget > self.workers:
            raise wrong(
                f"budget: {self.budget:g} processors are more than {self.workers} of `workers` can use; raise these"
            )
        return self


class Retention(Part):
    """How long results are kept: what is older, or more, goes first."""

    tracks_days: Annotated[float, Field(ge=0.01, le=3650, description="days that tracks are kept")] = 7.0
    tracks_size: Annotated[
        Annotated[Size, Field(ge=1 << 20)], Field(description="most room that tracks may take, all cameras together")
    ] = 10 << 30
    crops_days: Annotated[float, Field(ge=0.01, le=3650, description="days that pictures of sightings are kept")] = 3.0
    vectors_days: Annotated[float, Field(ge=0.01, le=3650, description="days that their vectors are kept")] = 3.0
    paths_days: Annotated[float, Field(ge=0.01, le=3650, description="days that their ways are kept")] = 7.0
    sightings_days: Annotated[
        float, Field(ge=0.01, le=3650, description="days that sightings are kept, with all that is left of them")
    ] = 30.0
    sightings_size: Annotated[
        Annotated[Size, Field(ge=1 << 20)], Field(description="most room that sightings may take, the first go first")
    ] = 20 << 30
    free: Annotated[
        Annotated[Size, Field(ge=0)], Field(description="room that stays free on the disk: the oldest files go for it")
    ] = 1 << 30
