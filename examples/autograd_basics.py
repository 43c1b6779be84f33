"""Automatic differentiation with torch.autograd, in PyTorch's present spelling: one layer, a loss, and its gradients.

Backpropagation adjusts the parameters (the weights of the model) according to the gradient of the loss function with respect to
each. autograd computes that gradient for any computational graph.
"""

import lazygrad as torch

# The input tensor
x = torch.ones(5)  # A tensor x of size 5, filled with ones.

# The expected output
y = torch.zeros(3)  # A tensor y of size 3, filled with zeros.

# The weights, a parameter.
# Random initial values; requires_grad=True says that the gradient for this tensor is to be computed and tracked.
w = torch.randn(5, 3, requires_grad=True)

# The bias, a parameter. Random initial values.
b = torch.randn(3, requires_grad=True)

# The matrix product of the input x and the weights w, plus the bias b, gives the tensor z.
z = torch.matmul(x, w) + b

# The binary cross entropy between z and y. For binary classification; takes logits and targets, and gives the loss.
loss = torch.nn.functional.binary_cross_entropy_with_logits(z, y)

# w and b are the parameters to be optimised, so the gradients of the loss with respect to them are needed:
# that is what requires_grad is set for.

# Print which operation made z; autograd goes back along these.
print(f"Gradient function for z = {z.grad_fn}")

# And the same for the loss.
print(f"Gradient function for loss = {loss.grad_fn}")

# Computing gradients

# To optimise the weights we need the derivatives of the loss with respect to the parameters.
# loss.backward() computes them, and w.grad and b.grad hold them:
loss.backward()

# The gradients are the direction and the amount in which the parameters should be changed, relative to the loss.
print(w.grad)
print(b.grad)

# Stopping the tracking of gradients

# By default all tensors with requires_grad=True track their history. Where only the forward pass is wanted,
# as when a trained model is applied to some data, that is not needed. A torch.no_grad() block stops it:
z = torch.matmul(x, w) + b
print(z.requires_grad)

with torch.no_grad():
    z = torch.matmul(x, w) + b
print(z.requires_grad)

# Another way
z = torch.matmul(x, w) + b
z_det = z.detach()
print(z_det.requires_grad)
