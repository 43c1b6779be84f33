"""Tensors and autograd: a third-order polynomial is fitted to y = sin(x) from -pi to pi.

The squared Euclidean distance is minimised. The forward pass uses operations on tensors, and autograd computes the gradients.
A tensor is a node of the computational graph: if x.requires_grad=True, then x.grad is another tensor, the gradient of some scalar
with respect to x.
"""

import lazygrad as torch
import math

dtype = torch.float
device = "cuda" if torch.cuda.is_available() else "cpu"
torch.set_default_device(device)

# Make tensors for the inputs and outputs.
# requires_grad=False is the default: no gradients with respect to these tensors are needed
# in the backward pass.
x = torch.linspace(-math.pi, math.pi, 2000, dtype=dtype)
y = torch.sin(x)

# Make random tensors for the weights. A third-order polynomial needs four weights:
# y = a + b x + c x^2 + d x^3
# requires_grad=True says that gradients with respect to these tensors are wanted
# in the backward pass.
a = torch.randn((), dtype=dtype, requires_grad=True)
b = torch.randn((), dtype=dtype, requires_grad=True)
c = torch.randn((), dtype=dtype, requires_grad=True)
d = torch.randn((), dtype=dtype, requires_grad=True)

learning_rate = 1e-6
for t in range(2000):
    # Forward pass: predict y with operations on tensors.
    y_pred = a + b * x + c * x ** 2 + d * x ** 3

    # Compute the loss with operations on tensors, and print it.
    # The loss is a tensor of shape (1,).
    # loss.item() is the scalar value that the loss holds.
    loss = (y_pred - y).pow(2).sum()
    if t % 100 == 99:
        print(t, loss.item())

    # Backward pass with autograd. This computes the gradient of the loss with respect to every
    # tensor that has requires_grad=True.
    # Afterwards a.grad, b.grad, c.grad and d.grad are tensors that hold the gradients of the
    # loss with respect to a, b, c and d.
    loss.backward()

    # Update the weights by gradient descent.
    # Inside torch.no_grad(), since the weights have requires_grad=True, but this is not to be
    # tracked by autograd.
    with torch.no_grad():
        a -= learning_rate * a.grad
        b -= learning_rate * b.grad
        c -= learning_rate * c.grad
        d -= learning_rate * d.grad

        # Set the gradients to zero by hand after the update of the weights.
        a.grad = None
        b.grad = None
        c.grad = None
        d.grad = None

print(f'Result: y = {a.item()} + {b.item()} x + {c.item()} x^2 + {d.item()} x^3')
