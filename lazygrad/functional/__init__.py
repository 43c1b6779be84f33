"""The operator library: every operator written once, by family, one file each. Importing this room gives Tensor its methods."""

from __future__ import annotations

from . import activations as activations
from . import arithmetic as arithmetic
from . import attention as attention
from . import attributes as attributes
from . import batch_norm as batch_norm
from . import casting as casting
from . import comparison as comparison
from . import contraction as contraction
from . import convolution as convolution
from . import counting as counting
from . import creation as creation
from . import ctc as ctc
from . import diagonals as diagonals
from . import dropout as dropout
from . import embedding_bag as embedding_bag
from . import exchange as exchange
from . import gathering as gathering
from . import indexing as indexing
from . import joining as joining
from . import legacy as legacy
from . import linalg as linalg
from . import losses as losses
from . import margin_losses as margin_losses
from . import multihead as multihead
from . import mutation as mutation
from . import normalization as normalization
from . import notebooks as notebooks
from . import padding as padding
from . import pickling as pickling
from . import pooling as pooling
from . import quantiles as quantiles
from . import random_activations as random_activations
from . import recurrent as recurrent
from . import reductions as reductions
from . import sampling as sampling
from . import scans as scans
from . import scattering as scattering
from . import searching as searching
from . import shaping as shaping
from . import sorting as sorting
from . import tables as tables
from . import unary as unary
from . import updates as updates
from . import vision as vision
