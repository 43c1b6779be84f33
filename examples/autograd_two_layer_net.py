"""A two-layer network with autograd: what manual_two_layer_net.py writes by hand is computed from the forward pass."""

import lazygrad as torch
from lazygrad.autograd import Variable

dtype = torch.FloatTensor
N, D_in, H, D_out = 64, 1000, 100, 10

# Inputs and outputs
x = Variable(torch.randn(N, D_in).type(dtype), requires_grad=False)  # requires_grad: compute a gradient
y = Variable(torch.randn(N, D_out).type(dtype), requires_grad=False)
print(x.shape, y.shape)

# Random initial weights
w1 = Variable(torch.randn(D_in, H).type(dtype), requires_grad=True)
w2 = Variable(torch.randn(H, D_out).type(dtype), requires_grad=True)
print(w1.shape, w2.shape)

learning_rate = 1e-6
for t in range(500):
    # Forward pass; predict y
    y_pred = x.mm(w1).clamp(min=0).mm(w2)

    # Compute the loss
    loss = (y_pred - y).pow(2).sum()
    print(t, loss.data)

    # Backward pass; autograd
    loss.backward()

    # Update the weights by gradient descent
    w1.data -= learning_rate * w1.grad.data
    w2.data -= learning_rate * w2.grad.data

    # Set the gradients to 0 by hand
    w1.grad.data.zero_()
    w2.grad.data.zero_()
