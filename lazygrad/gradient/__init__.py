"""Gradients as graph rewriting: the rule tables, and the pass that applies them."""

from . import reverse as reverse
from . import reverse_structure as reverse_structure
