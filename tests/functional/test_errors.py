"""Errors have PyTorch's type and key words, name what was asked, and say where the operands were made."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import lazygrad as lg
from lazygrad import config

torch = pytest.importorskip("torch")

CASES = {
    "torch.ones(2, 3).view(4)": "invalid for input of size 6",
    "torch.ones(2, 3).t().view(6)": "view size is not compatible",
    "torch.ones(2, 3).reshape(4, -1)": "is invalid for input of size 6",
    "torch.ones(2, 3).reshape(-1, -1)": "only one dimension can be inferred",
    "torch.ones(-1)": "negative dimension -1",
    "torch.arange(5, 0)": "inconsistent with step sign",
    "torch.full((2,), 300, dtype=torch.uint8)": "without overflow",
    "torch.tensor(300, dtype=torch.uint8)": "without overflow",
    "torch.tensor([[1, 2], [3]])": "expected sequence of length 2 at dim 1",
    "torch.tensor(None)": "Could not infer dtype of NoneType",
    "torch.tensor('a')": "invalid data type 'str'",
    "torch.linspace(0, 1, -1)": "number of steps must be non-negative",
    "torch.ones(2) + 'a'": "unsupported operand type",
    "torch.ones(2, 3) + torch.ones(2, 4)": "must match the size of tensor b",
    "torch.zeros(3).fill_(torch.ones(2))": "0-dimension value tensor",
    "torch.ones(3)[5]": "index 5 is out of bounds for dimension 0 with size 3",
    "torch.ones(3)[torch.tensor([5])].tolist()": "out of bounds for dimension 0 with size 3",
    "torch.ones(3)[1.5]": "only integers, slices",
    "torch.ones(3)[0, 0]": "too many indices for tensor of dimension 1",
    "torch.ones(())[0]": "invalid index of a 0-dim tensor",
    "torch.ones(3)[::-1]": "step must be greater than zero",
    "torch.ones(3)[torch.ones(2, dtype=torch.bool)]": "The shape of the mask",
    "torch.ones(3)[torch.ones(2)]": "tensors used as indices must be long",
    "torch.ones(4, 5)[torch.tensor([0, 1]), torch.tensor([0, 1, 2])]": "could not be broadcast together",
    "torch.cat([torch.ones(2, 3), torch.ones(2, 4)])": "Sizes of tensors must match except in dimension 0",
    "torch.cat([])": "expected a non-empty list of Tensors",
    "torch.stack([torch.ones(2), torch.ones(3)])": "stack expects each tensor to be equal size",
    "torch.ones(2, 3).expand(4, 3)": "must match the existing size",
    "torch.ones(2, 3).expand(3)": "the number of sizes provided",
    "torch.ones(2, 3).permute(0, 0)": "duplicate dims are not allowed",
    "torch.ones(2, 3).permute(0)": "does not match the length",
    "torch.ones(2, 3, 4).t()": "expects a tensor with <= 2 dimensions, but self is 3D",
    "torch.ones(2, 3).split([1, 3])": "to sum exactly to 2",
    "torch.ones(2, 3).chunk(0)": "greater than 0",
    "torch.ones(2, 3).narrow(0, 1, 3)": "exceeds dimension size",
    "torch.ones(2, 3).select(0, 5)": "out of range",
    "torch.ones(2, 3).unsqueeze(4)": "Dimension out of range",
    "torch.ones(2, 3).sum(2)": "Dimension out of range",
    "torch.ones(2, 2).sum((0, 0))": "appears multiple times in the list of dims",
    "torch.ones(2, 3).repeat(2)": "Number of dimensions of repeat dims",
    "torch.ones(2, 3).gather(0, torch.tensor([[5]])).tolist()": "out of bounds",
    "torch.ones(2, 3).gather(0, torch.tensor([5]))": "same number of dimensions",
    "torch.ones(2, 3).gather(0, torch.tensor([[5.]]))": "Expected dtype int32/int64 for index",
    "torch.ones(2, 3).scatter_add(0, torch.tensor([[0]]), torch.ones(1, 1).double())": "to be equal to src.dtype",
    "F.one_hot(torch.tensor([5]), 3)": "Class values must be smaller than num_classes",
    "F.one_hot(torch.tensor([-1]), 3)": "Class values must be non-negative",
    "F.cross_entropy(torch.ones(2, 3), torch.tensor([0, 1, 2]))": "to match target batch_size (3)",
    "F.cross_entropy(torch.ones(2, 3), torch.tensor([0, 1]), reduction='x')": "x is not a valid value for reduction",
    "F.cross_entropy(torch.ones(2, 3), torch.tensor([0., 1.]))": "expected target dtype to be Long or Byte",
    "F.mse_loss(torch.ones(2, 3), torch.ones(2))": "must match the size of tensor b",
    "F.binary_cross_entropy_with_logits(torch.ones(2, 3), torch.ones(2))": "must be the same as input size",
    "F.binary_cross_entropy(torch.ones(2), torch.ones(3))": "that is different to the input size",
    "F.layer_norm(torch.ones(2, 3), (2,))": "expected input with shape [*, 2]",
    "F.dropout(torch.ones(2), 1.5)": "dropout probability has to be between 0 and 1",
    "torch.randperm(-1)": "negative dimension -1",
    "torch.normal(0., -1., (2,))": "expects std >= 0.0",
    "torch.randn(2, dtype=torch.long)": "not implemented for 'Long'",
    "torch.rand(2).uniform_(3, 1)": "found from=3",
    "torch.randint(3, 3, (2,))": "'from' to be less than 'to'",
    "torch.where(torch.ones(2), torch.ones(2), 1)": "condition to be a boolean tensor",
    "torch.zeros(2).masked_fill(torch.zeros(2), 1)": "only supports boolean masks",
    "torch.ones(2, 3).roll((1, 2), 0)": "shifts and dimensions must align",
    "torch.ones(2, 3).flip(0, 0)": "appears multiple times",
    "torch.ones(2, 3) @ torch.ones(2, 3)": "mat1 and mat2 shapes cannot be multiplied (2x3 and 2x3)",
    "torch.ones(2).dot(torch.ones(3))": "the same number of elements",
    "torch.ones(2, 3).mm(torch.ones(3))": "must be a matrix",
    "torch.ones(2, 3).mm(torch.ones(3, 2).double())": "to have the same dtype",
    "torch.einsum('ij,jk->ik', torch.ones(2, 3), torch.ones(2, 3))": "does not broadcast with previously seen size",
    "torch.ones(2).bool() - 1": "with a bool tensor is not supported",
    "torch.ones(2, dtype=torch.int32).mean()": "could not infer output dtype",
    "torch.ones(0).max()": "Expected reduction dim to be specified for input.numel() == 0",
    "torch.ones(0, 3).amax(0)": "Expected reduction dim 0 to have non-zero size",
    "torch.ones(2).int().div_(2)": "result type Float can't be cast to the desired output type Int",
    "torch.ones(2).add_(torch.ones(3, 2))": "output with shape [2] doesn't match the broadcast shape [3, 2]",
    "(torch.tensor([1]) // 0).tolist()": "ZeroDivisionError",
    "(torch.tensor([1]) // torch.tensor([0])).tolist()": "ZeroDivisionError",
    "(torch.tensor([1]) % 0).tolist()": "ZeroDivisionError",
    "torch.ones(2).int() ** -1": "Integers to negative integer powers are not allowed",
    "bool(torch.ones(2))": "more than one value is ambiguous",
    "torch.ones(2).item()": "a Tensor with 2 elements cannot be converted to Scalar",
    "torch.from_numpy([1])": "expected np.ndarray (got list)",
    "torch.sin(1.0)": "must be Tensor, not float",
    "torch.ones(6).unflatten(0, (4, 2))": "don't multiply up to the size of dim 0",
    "torch.zeros(2, 3).__setitem__(torch.zeros(2, 3) > 0, torch.ones(2))": "shape mismatch: value tensor of shape [2]",
    "torch.zeros(2, 3).__setitem__(0, torch.ones(2))": "The expanded size of the tensor",
    "torch.finfo(torch.int32)": "requires a floating point input type",
    "torch.device('foo')": "device type at start of device string: foo",
    "torch.ones(2, device='cuda')": "Torch not compiled with CUDA enabled",
    "torch.ones(2).cuda()": "Torch not compiled with CUDA enabled",
    "torch.FloatTensor(2.5)": "data must be a sequence (got float)",
    "torch.ones(2, requires_grad=True).add_(1)": "a leaf Variable that requires grad",
    "torch.tensor([1], requires_grad=True)": "can require gradients",
    "torch.logical_and(torch.ones(2), 2)": "must be Tensor, not int",
    "torch.hypot(torch.ones(2), 2)": "must be Tensor, not int",
    "torch.hsplit(torch.ones(4, 3), 2)": "attempted to split along dimension 1",
    "torch.rot90(torch.ones(2, 3), 1, (1, 1))": "expected rotation dims to be different",
    "torch.tensor(1).unbind()": "Dimension specified as 0 but tensor has no dimensions",
    "torch.ones(3).masked_scatter(torch.ones(3), torch.ones(3))": "only supports boolean masks",
    "torch.ones(2, 2).scatter(0, torch.zeros(2, 2).long(), torch.ones(2, 2, 2))": "the same number of dimensions as src",
    "torch.diff(torch.ones(3), -1)": "order must be non-negative",
    "F.prelu(torch.ones(2, 2), torch.ones(1, 2))": "to be a scalar or 1D tensor",
    "torch.ones(2, requires_grad=True).t_()": "a leaf Variable that requires grad",
    "torch.aminmax(torch.ones(2), dim=0, out=(torch.ones(()), torch.ones(()).double()))": "Expected out tensor to have dtype",
    "torch.arange(3, dtype=torch.float32, out=torch.empty(3).long())": "does not match dtype of out parameter",
    "torch.ones(2, 3).clamp()": "At least one of 'min' or 'max' must not be None",
}


@pytest.fixture(autouse=True)
def on_the_interpreter() -> Iterator[None]:
    with config.override(device="interpret"):
        yield


@pytest.mark.parametrize("expression", CASES)
def test_type_and_words(expression: str) -> None:
    words = CASES[expression]
    if "cuda" in expression and lg.cuda.is_available():
        pytest.skip("there is a GPU here")
    raised = []
    for module in (lg, torch):
        try:
            eval(expression, {"torch": module, "F": module.nn.functional})
        except Exception as error:
            raised.append(error)
    assert len(raised) == 2
    ours, theirs = raised
    if not expression.endswith(
        ".tolist()"
    ):  # what is found on the device has one type for all kinds of indices
        assert type(ours) is type(theirs) or isinstance(ours, type(theirs))
    assert words in str(theirs), "the test's own words"
    assert words in str(ours)


@pytest.mark.parametrize("device", ["interpret", "cpu"])
def test_data_dependent_errors_leave_everything_alive(device: str) -> None:
    with config.override(device=device):
        x = lg.arange(4)
        for make in (
            lambda: lg.tensor([1, 2]) // lg.tensor([1, 0]),
            lambda: lg.tensor([1.0, 2.0, 3.0])[lg.tensor([0, 3])],
            lambda: lg.tensor([1.0, 2.0, 3.0])[lg.tensor([-4])],
            lambda: lg.tensor([1.0, 2.0]).gather(0, lg.tensor([2])),
            lambda: lg.nn.functional.embedding(lg.tensor([2]), lg.tensor([[1.0, 2.0], [3.0, 4.0]])),
            lambda: lg.nn.functional.cross_entropy(
                lg.tensor([[1.0, 2.0, 3.0]] * 2), lg.tensor([0, 3])
            ),
        ):
            with pytest.raises(
                RuntimeError
            ) as raised:  # PyTorch's type for some; for others an IndexError
                make().tolist()  # type: ignore[no-untyped-call]
            assert ("out of" in str(raised.value)) is isinstance(raised.value, IndexError)
        x += 1
        assert x.tolist() == [1, 2, 3, 4]


def test_the_message_says_where_operands_were_made() -> None:
    left = lg.randn(64, 1000)
    right = lg.randn(100, 10)
    with pytest.raises(RuntimeError) as error:
        left @ right
    text = str(error.value)
    assert text.startswith("matmul: ")
    assert "(64, 1000) @ (100, 10) needs 1000 == 100" in text
    assert "left = lg.randn(64, 1000)" in text
    assert "right = lg.randn(100, 10)" in text
    assert "test_errors.py:" in text
