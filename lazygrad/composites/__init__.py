"""The named composites, one file a family: each body with its reverse rule beside it. Importing this room registers them.

A rule is there where PyTorch's gradient differs from the body's (ties, boundaries, infinities), or is much simpler. Bodies take
nodes of one shape (nothing broadcasts) and keep reduced axes with size 1, as the IR does; the functional layer drops them.
A composite of floats that a rule's result is built with needs a rule itself: bodies are put in place before rules are applied.
Half types are computed in float32 and rounded once where PyTorch does so.
"""

from . import activation as activation
from . import bessel as bessel
from . import contraction as contraction
from . import correlation as correlation
from . import distance as distance
from . import embedding as embedding
from . import factorization as factorization
from . import gamma as gamma
from . import loss as loss
from . import norm as norm
from . import normalization as normalization
from . import order as order
from . import pooling as pooling
from . import power as power
from . import resampling as resampling
from . import select as select
from . import softmax as softmax
from . import solving as solving
from . import special as special
from . import statistics as statistics
from . import vision as vision
