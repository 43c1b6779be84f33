"""A two-layer network trained with Variables and autograd: PyTorch's tutorial in its first spelling.

A fully connected network with one hidden layer, ReLU and no biases, trained to predict y from x by minimising the squared
Euclidean distance. The forward pass uses operations on Variables, and autograd computes the gradients. A Variable is a node of
the computational graph: x.data is its value, and x.grad another Variable that holds the gradient of some scalar with respect to x.
"""

import lazygrad as torch
from lazygrad.autograd import Variable

dtype = torch.FloatTensor
# dtype = torch.cuda.FloatTensor # Uncomment this to run on a GPU.

# N is the batch size, D_in the dimension of the input;
# H is the dimension of the hidden layer, D_out that of the output:
N, D_in, H, D_out = 64, 1000, 100, 10

# Make Tensors with random values for the inputs and outputs, and wrap them in Variables.
# requires_grad=False says that no gradients with respect to these Variables are needed
# in the backward pass.
x = Variable(torch.randn(N, D_in).type(dtype), requires_grad=False)
y = Variable(torch.randn(N, D_out).type(dtype), requires_grad=False)

# Make Tensors with random values for the weights, and wrap them in Variables.
# requires_grad=True says that gradients with respect to these Variables are wanted
# in the backward pass.
w1 = Variable(torch.randn(D_in, H).type(dtype), requires_grad=True)
w2 = Variable(torch.randn(H, D_out).type(dtype), requires_grad=True)

learning_rate = 1e-6
for t in range(500):
    # Forward pass: predict y with operations on Variables. This is exactly what it would be
    # with Tensors, but intermediate values need not be kept, since the backward pass is not
    # written by hand.
    y_pred = x.mm(w1).clamp(min=0).mm(w2)

    # Compute the loss with operations on Variables, and print it.
    # loss is a Variable of shape (1,), and loss.data a Tensor of shape (1,);
    # loss.data[0] is the scalar value of the loss.
    loss = (y_pred - y).pow(2).sum()
    print(t, loss.data[0])

    # Backward pass with autograd. This computes the gradient of the loss with respect to every
    # Variable that has requires_grad=True. Afterwards w1.grad and w2.grad are Variables that
    # hold the gradients of the loss with respect to w1 and w2.
    loss.backward()

    # Update the weights by gradient descent; w1.data and w2.data are Tensors, w1.grad and
    # w2.grad are Variables, and w1.grad.data and w2.grad.data are Tensors.
    w1.data -= learning_rate * w1.grad.data
    w2.data -= learning_rate * w2.grad.data

    # Set the gradients to zero by hand after the update of the weights.
    w1.grad.data.zero_()
    w2.grad.data.zero_()
