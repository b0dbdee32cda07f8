"""Makes every request with a client that openapi-python-client generated: generated_client.py URL FOLDER VIDEO

FOLDER contains the client as the package `generated`, VIDEO is a short video."""

import importlib
import json
import pathlib
import pkgutil
import sys
from io import BytesIO

url, folder, video = sys.argv[1:]
sys.path.insert(0, folder)

import generated.api  # noqa: E402
from generated import Client  # noqa: E402
from generated.models import Accepted, AnalysisList, AnalysisRequest, Comparison, AcceptedForm, Crossings, Form, Index, ModelDescription, ModelForm, ModelList, Page, Problem, QueuedWork, Reanalysis, Stills, Summary, Tracks, Video, VideoByUri, Visits  # noqa: E402
from generated.types import File  # noqa: E402

# Every request is a module. Those that this test makes are removed.
untried = {
    module.name.rsplit(".", 1)[1]: module.name
    for module in pkgutil.walk_packages(generated.api.__path__, "generated.api.")
    if not module.ispkg
}
client = Client(base_url=url, timeout=60, raise_on_unexpected_status=True)
bytes_ = pathlib.Path(video).read_bytes()


def call(name, /, *arguments, status=200, kind=None, **options):
    """Makes a request, and returns what the client parsed, which is of this type."""
    module = importlib.import_module(untried.get(name) or call.tried[name])
    call.tried[name] = untried.pop(name, None) or call.tried[name]
    response = module.sync_detailed(*arguments, client=client, **options)
    assert response.status_code == status, (name, response)
    if kind is not None:
        assert isinstance(response.parsed, kind), (name, type(response.parsed), response.parsed)
    return response.parsed


call.tried = {}

assert call("show_index", kind=Index).openapi == "/openapi.json"

file = File(payload=BytesIO(bytes_), file_name="a.mp4", mime_type="video/mp4")
form = Form(every=5, labels=["person"], alarms=["person > 10"], video=file)
[accepted] = call("upload_form", body=form, status=202, kind=AcceptedForm).videos
assert (accepted.name, accepted.links.video) == ("a.mp4", f"/videos/{accepted.id}"), accepted

events = call("follow_video", accepted.id, kind=str)
assert "event: summary" in events, events
shown = call("show_video", accepted.id, kind=Video)
assert (shown.every, shown.labels, shown.rules) == (5, ["person"], ["person > 10"]), shown
assert (shown.state, shown.frames.counted) == ("done", 2), shown
summary = call("show_summary", accepted.id, kind=Summary)
assert (summary.video, summary.processed_frames) == (accepted.id, 2), summary
frames = [json.loads(line) for line in call("list_frames", accepted.id, kind=str).splitlines()]
assert sorted(frame["frame"] for frame in frames) == [0, 5], frames
call("list_detections", accepted.id, kind=str)
[analysis] = call("list_analyses", accepted.id, kind=AnalysisList).analyses
assert (analysis.id, analysis.model) == (accepted.id, "nanodet"), analysis
compared = call("compare_analyses", accepted.id, models="nanodet,nanodet", kind=Comparison)
assert [of.frames for of in compared.analyses] == [2, 2], compared
asked = AnalysisRequest(lines=["gate: 0.5,0 0.5,1"], threshold=0.3)
analysed = call("analyse_video", accepted.id, body=asked, kind=Reanalysis)
assert (analysed.complete, analysed.processed_frames) == (True, 2), analysed
for name, kind in [("list_tracks", Tracks), ("list_crossings", Crossings), ("list_visits", Visits)]:
    assert call(name, accepted.id, kind=kind).complete, name
assert [still.frame for still in call("list_stills", accepted.id, kind=Stills).stills] == [0, 5]

file = File(payload=BytesIO(bytes_))
raw = call("upload_video", body=file, name="raw", every=10, labels=["car", "boat"], status=202, kind=Accepted)
assert raw.name == "raw", raw
refused = call("upload_video", body=VideoByUri(uri="file:///etc/passwd", every=2), status=403, kind=Problem)
assert "ingest.allow" in refused.detail, refused
call("follow_video", raw.id, kind=str)

page = call("list_videos", limit=1, kind=Page)
assert [listed.id for listed in page.videos] == [raw.id] and page.next_, page
page = call("list_videos", limit=1, after=page.next_, kind=Page)
assert len(page.videos) == 1, page

listed = call("list_models", kind=ModelList)
assert [model.model for model in listed.models] == ["nanodet", "nanodet-int8"], listed
assert call("show_model", "nanodet", kind=ModelDescription).classes == 80
assert "built in" in call("remove_model", "nanodet", status=422, kind=Problem).detail
file = File(payload=BytesIO(b"not a model"), file_name="boats.onnx")
assert "boats" in call("add_model", body=ModelForm(model=file), status=422, kind=Problem).detail

work = call("show_work", kind=QueuedWork)
assert [(of.model, of.frames, of.detector_seconds) for of in work.models] == [("nanodet", 0, 0.0)], work

assert "done already" in call("cancel_video", raw.id, status=409, kind=Problem).detail
call("cancel_video", raw.id, forget=True, status=204)
assert "does not exist" in call("show_video", raw.id, status=404, kind=Problem).detail
assert not untried, f"requests without a test: {sorted(untried)}"
