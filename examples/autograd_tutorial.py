"""Autograd: automatic differentiation, PyTorch's tutorial in its first spelling.

The autograd package differentiates every operation on Tensors. It is a define-by-run framework: how the code runs defines the
backward pass, and every iteration can be different. autograd.Variable wraps a Tensor and supports nearly every operation defined
on it. When the computation is done, .backward() computes all gradients; .data is the raw tensor, and the gradient accumulates
in .grad. Variables and Functions are connected and build up an acyclic graph that encodes the history of the computation:
.grad_fn refers to the Function that made a Variable (None for Variables made by the user). A Variable that is not a scalar needs
a `gradient` argument for .backward(), a tensor of the same shape.
"""

import lazygrad as torch
from lazygrad.autograd import Variable

# Make a variable:
x = Variable(torch.ones(2, 2), requires_grad=True)
print(x)

# Do an operation on the variable:
y = x + 2
print(y)

# y was made as the result of an operation, so it has a grad_fn.
print(y.grad_fn)

# Do more operations on y:
z = y * y * 3
out = z.mean()

print(z, out)

# Gradients: now backpropagate.
# out.backward() is the same as out.backward(torch.Tensor([1.0])).
out.backward()

# Print the gradient d(out)/dx.
print(x.grad)

# This is a matrix of 4.5. With o for the Variable out: o = 1/4 sum_i z_i, z_i = 3 (x_i + 2)^2
# and z_i = 27 at x_i = 1. So do/dx_i = 3/2 (x_i + 2), which is 9/2 = 4.5 at x_i = 1.

# autograd can do many crazy things!
x = torch.randn(3)
x = Variable(x, requires_grad=True)

y = x * 2
while y.data.norm() < 1000:
    y = y * 2

print(y)

gradients = torch.FloatTensor([0.1, 1.0, 0.0001])
y.backward(gradients)

print(x.grad)
