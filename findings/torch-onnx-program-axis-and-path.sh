#!/usr/bin/env bash
# torch.onnx.export of an ExportedProgram forgets the name of a dynamic axis, and writes nothing to a path given second.
#
# An axis declared as Dim("batch") is "batch" in the ONNX file when the module is exported, but s40 or another symbol when
# the program that torch.export made of it is; whoever reads axis names, or binds shapes by them, finds nothing. And the
# second argument is `args`, which a program has no use for: torch.onnx.export(program, "policy.onnx") takes the path for
# them, returns without an error, and no file is there. With f="policy.onnx" there are two files, policy.onnx.data beside
# it; saving what export returns makes one, though both go through the same program.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    "torch==2.13.0" "numpy==2.4.6" "onnx==1.23.2" "onnxscript==0.7.2"
"$folder/venv/bin/python" - "$folder" 2>/dev/null <<'PY'
import os
import sys

import onnx
import torch

print("torch", torch.__version__, "onnx", onnx.__version__)


class Step(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 4)

    def forward(self, seen, state):
        return (state + self.layer(seen)).tanh()


def axes(made):
    graph = made.model_proto.graph
    return [each.type.tensor_type.shape.dim[0].dim_param for each in (*graph.input, *graph.output)]


def files_of(name, write):
    place = os.path.join(sys.argv[1], name)
    os.mkdir(place)
    write(os.path.join(place, "policy.onnx"))
    return sorted(os.listdir(place))


step, args, batch = Step().eval(), (torch.zeros(2, 4), torch.zeros(2, 4)), torch.export.Dim("batch", min=1)
shapes = ({0: batch}, {0: batch})
program = torch.export.export(step, args, dynamic_shapes=shapes)
of_module = torch.onnx.export(step, args, dynamic_shapes=shapes, dynamo=True, verbose=False)
of_program = torch.onnx.export(program, dynamo=True, verbose=False)
print("the axis is called, exported from the module:", axes(of_module))
print("and from the program:", axes(of_program))
found = {
    "export(program, path)": files_of("a", lambda path: torch.onnx.export(program, path, dynamo=True, verbose=False)),
    "export(program, f=path)": files_of("b", lambda path: torch.onnx.export(program, f=path, dynamo=True, verbose=False)),
    "export(program).save(path)": files_of("c", of_program.save),
}
print(*(f"{call} writes {files}" for call, files in found.items()), sep="\n")
assert set(axes(of_module)) == {"batch"} and "batch" not in axes(of_program), "the program's axis keeps its name now"
assert [len(files) for files in found.values()] == [0, 2, 1], "what is written where has changed"
print("as described: the name is lost, and a path given second is taken for arguments without a word")
PY
