"""How a function is found by what it is called on the command line, and all losses of a file."""

import functools
import sys
import time
import types

import museum
import pytest

import minidistill as md
import minidistill.testing
from minidistill.testing.losses.targets import _looks_like_a_loss, find_losses, load_function, name_of


def test_a_file_may_import_its_neighbours_and_its_path_may_hold_a_colon(tmp_path, monkeypatch):
    decoy = tmp_path / "decoy"
    decoy.mkdir()
    (decoy / "antigravity.py").write_text("scale = 3.0")
    monkeypatch.setattr(sys, "path", [str(decoy), *sys.path])
    monkeypatch.delitem(sys.modules, "antigravity", raising=False)
    folder = tmp_path / "a:b"
    folder.mkdir()
    (folder / "antigravity.py").write_text("scale = 4.0")  # not the standard library's
    (folder / "losses.py").write_text("import antigravity\ndef loss(z, v, T):\n    return antigravity.scale")
    assert load_function(f"{folder}/losses.py:loss")(0, 0, 0) == 4.0
    monkeypatch.delitem(sys.modules, "antigravity")


def test_a_module_in_the_current_folder_is_found(tmp_path, monkeypatch):
    (tmp_path / "decoy").mkdir()
    (tmp_path / "decoy" / "antigravity.py").write_text("def loss(z, v, T):\n    return 3.0")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "decoy"), *(path for path in sys.path if path)])
    monkeypatch.delitem(sys.modules, "antigravity", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "antigravity.py").write_text("def loss(z, v, T):\n    return 5.0")
    assert load_function("antigravity:loss")(0, 0, 0) == 5.0
    monkeypatch.delitem(sys.modules, "antigravity")


def test_a_function_of_a_module_is_found_by_its_name():
    assert load_function("minidistill.losses:kl_divergence") is md.kl_divergence


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Write files, by their names, into the folder that is imported from first; what they imported is forgotten."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    before = set(sys.modules)

    def write(**files):
        for name, text in files.items():
            path = tmp_path / f"{name.replace('__in__', '/')}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        return tmp_path

    yield write
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.parametrize(
    ("names", "loss"),
    [
        ("z, v, T", True), ("student_logits, teacher_logits, temperature", True), ("logits, targets, tau", True),
        ("y_s, y_t, temp=4.0, alpha=0.5", True), ("s_out, t_out, t, y", True), ("pred, target, T", True),
        ("z, v", False), ("T", False), ("", False), ("v, z, T", False), ("z, v, alpha", False), ("z, y, T", False),
        ("epoch, v, T", False), ("z, y, v, T", False), ("*z", False),
    ],
)  # fmt: skip
def test_a_loss_is_known_by_the_names_of_its_first_three_parameters(names, loss):
    assert _looks_like_a_loss(eval(f"lambda {names}: 0.0")) == loss


LOSSES = """
from dataclasses import dataclass
from museum import kl_value_alone

def first(z, v, T):
    return 1.0

def second(student, teacher, temperature):
    return 2.0

def helper(z):
    return z

class Loss:
    def __call__(self, z, v, T):
        return 3.0

@dataclass
class Options:
    T: "float" = 3.0

third = Loss()
T = 4.0
"""


def test_all_losses_of_a_file_are_found_and_neither_what_it_imports_nor_what_is_no_function(written, capsys):
    file = written(of_losses=LOSSES) / "of_losses.py"
    found = find_losses(str(file))
    assert {target: loss(0, 0, 0) for target, loss in found.items()} == {f"{file}:first": 1.0, f"{file}:second": 2.0}
    assert capsys.readouterr() == ("", "")
    ((target, loss),) = find_losses(f"{file}:third").items()
    assert (target, loss(0, 0, 0)) == (f"{file}:third", 3.0)


def test_all_losses_of_a_package_are_found_and_a_module_that_fails_is_said_to_be_left_out(written, capsys):
    written(
        of_a_kit__in____init__="",
        of_a_kit__in__good="def loss(z, v, T):\n    return 1.0",
        of_a_kit__in__fails="1 / 0",
        of_a_kit__in__leaves="import sys\nsys.exit(3)",
        of_a_kit__in__last="def loss(z, v, T):\n    return 2.0",
    )
    found = find_losses("of_a_kit")
    assert {target: loss(0, 0, 0) for target, loss in found.items()} == {
        "of_a_kit.good:loss": 1.0,
        "of_a_kit.last:loss": 2.0,
    }
    assert capsys.readouterr() == ("", (
        "of_a_kit.fails left out: ZeroDivisionError: division by zero\n"
        "of_a_kit.leaves left out: SystemExit: 3\n"
    ))  # fmt: skip
    for target, loss in found.items():
        assert name_of(loss) == target
        assert load_function(target) is loss


def test_a_function_is_named_by_its_module_or_file_if_it_can_be_found_there(written):
    file = written(of_losses=LOSSES) / "of_losses.py"
    assert name_of(load_function(f"{file}:first")) == f"{file}:first"
    assert name_of(time.sleep) == "time:sleep", "a module without a file"
    assert name_of(md.losses.kl_divergence).endswith(":kl_divergence")
    assert load_function(name_of(md.losses.kl_divergence)) is md.losses.kl_divergence
    nowhere = functools.partial(museum.kl_value_alone), load_function(f"{file}:third"), lambda z, v, T: 0.0
    other = types.FunctionType(museum.kl_value_alone.__code__, {}, "kl_value_alone")
    lost = load_function(f"{file}:second")
    lost.__module__ = "of_no_module"
    for function in (*nowhere, other, lost):
        assert name_of(function) == ""


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("losses.py", "target must be FILE.py:function or package.module:function, got 'losses.py'"),
        ("losses.py:", "target must be FILE.py:function or package.module:function, got 'losses.py:'"),
        ("of_no_file.py:loss", "target must name a file that exists, got 'of_no_file.py'"),
        ("{}/of_losses.py:T", "target must name a function of {}/of_losses.py, got 'T'"),
        ("{}/of_losses.py:fourth", "target must name a function of {}/of_losses.py, got 'fourth'"),
        ("of_no_module:loss",
         "target of_no_module cannot be imported: ModuleNotFoundError: No module named 'of_no_module'"),
        ("{}/of_errors.py:loss", "target {}/of_errors.py cannot be imported: ZeroDivisionError: division by zero"),
        ("of_errors:loss", "target of_errors cannot be imported: ZeroDivisionError: division by zero"),
        ("{}/of_exits.py:loss", "target {}/of_exits.py cannot be imported: SystemExit: 3"),
    ],
)  # fmt: skip
def test_a_target_that_names_no_function_is_said_to(written, target, text):
    folder = written(of_losses=LOSSES, of_errors="1 / 0", of_exits="import sys\nsys.exit(3)")
    with pytest.raises(md.ArgumentError) as raised:
        load_function(target.format(folder))
    assert str(raised.value) == text.format(folder)


@pytest.mark.parametrize("target", ["{}/of_helpers.py", "of_helpers"])
def test_a_file_without_a_loss_is_said_to_hold_none(written, target):
    folder = written(of_helpers="def helper(z):\n    return z")
    with pytest.raises(md.ArgumentError) as raised:
        find_losses(target.format(folder))
    assert str(raised.value) == (
        f"target must hold a function (student, teacher, temperature, ...), got {target.format(folder)!r}: "
        "name one of it, as in FILE.py:function"
    )
