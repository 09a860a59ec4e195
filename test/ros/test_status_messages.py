"""Diagnostics: what colours the node, and for how long."""

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from instascene.msg import SceneStatus

from instascene_ros import error_log
from instascene_ros.error_log import ErrorLog
from instascene_ros.status_messages import diagnostics_message


@pytest.mark.parametrize(
    ("state", "is_troubled", "level", "words"),
    [
        (SceneStatus.STATE_READY, True, DiagnosticStatus.WARN, "No instance 7."),
        (SceneStatus.STATE_READY, False, DiagnosticStatus.OK, "ready"),
        (SceneStatus.STATE_WAITING, False, DiagnosticStatus.WARN, "No frame with a pose has arrived yet."),
    ],
)
def test_an_error_colours_the_node_for_a_while(state, is_troubled, level, words):
    status = SceneStatus(state=state, last_error="No instance 7.", errors=1)
    (entry,) = diagnostics_message(status, "/scene_node", is_troubled).status
    assert (entry.level, entry.message, entry.name) == (level, words, "/scene_node: scene")
    assert {v.key: v.value for v in entry.values}["errors"] == "1"  # stays counted


def test_the_trouble_passes(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(error_log.time, "monotonic", lambda: now[0])
    errors = ErrorLog()
    assert not errors.is_troubled
    errors.report("get_instance", "No instance 7.")
    now[0] += error_log.TROUBLED_S - 1
    assert errors.is_troubled
    now[0] += 2
    assert not errors.is_troubled and errors.snapshot().newest == "No instance 7."
    errors.report("get_instance", "No instance 7.")
    assert errors.is_troubled
    errors.clear()
    assert not errors.is_troubled
