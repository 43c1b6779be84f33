"""A two-layer network with tensors alone: the forward and the backward pass written by hand.

NumPy cannot make use of a GPU for numerical work; a Tensor is as general a tool as a NumPy array, and can.
"""

import lazygrad as torch

# The type of the data
dtype = torch.FloatTensor  # CPU tensor
dtype

# N: batch size, D_in: dimension of the input, H: of the hidden layer, D_out: of the output
N, D_in, H, D_out = 64, 1000, 100, 10

# Inputs and outputs
x = torch.randn(N, D_in).type(dtype)
y = torch.randn(N, D_out).type(dtype)
print(x.shape, y.shape)

# Random initial weights
w1 = torch.randn(D_in, H).type(dtype)
w2 = torch.randn(H, D_out).type(dtype)
print(w1.shape, w2.shape)

learning_rate = 1e-6
for t in range(500):
    # Forward pass; predict y
    h = x.mm(w1)  # matrix multiplication
    h_relu = h.clamp(min=0)  # what is below 0 becomes 0
    y_pred = h_relu.mm(w2)

    # Compute the loss
    loss = (y_pred - y).pow(2).sum()
    print(t, loss)

    # Compute the gradients of the loss with respect to w1 and w2, and propagate them back
    grad_y_pred = 2.0 * (y_pred - y)
    grad_w2 = h_relu.t().mm(grad_y_pred)
    grad_h_relu = grad_y_pred.mm(w2.t())
    grad_h = grad_h_relu.clone()
    grad_h[h < 0] = 0
    grad_w1 = x.t().mm(grad_h)

    # Update the weights by gradient descent
    w1 -= learning_rate * grad_w1
    w2 -= learning_rate * grad_w2
