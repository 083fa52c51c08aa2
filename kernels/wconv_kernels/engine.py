"""Training with a fixed density: stock convolutions hold V = W * Phi, the optimizer sees W."""

import weakref
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import LBFGS, Optimizer
from torch.utils.hooks import RemovableHandle

from wconv_kernels.density import Densities, densities_by_size, outer_kernel
from wconv_kernels.errors import EngineError
from wconv_kernels.optimizer_state import read_raw_weights, save_raw_weights
from wconv_kernels.sites import sites


class DensityEngine:
    """Train stock convolutions so that each step equals the step of conv(x, W * Phi).

    The modules hold V = W * Phi; forward and backward are those of the plain network. Around each
    optimizer step the engine lends the optimizer the raw weights W and their gradient
    dL/dW = Phi * dL/dV, and writes V = W * Phi afterwards. These are the very products that the
    weighted convolution takes, so the trajectory is the same for every torch optimizer
    (Cammarasana and Patane 2025, arXiv:2505.24558, for the operator).

    Order: build the model, move it to its device and dtype, `DensityEngine(model, density)`, wrap
    it in DistributedDataParallel or torch.compile, build the optimizer, `attach(optimizer)`.

    Args:
        model: its sites are multiplied in place by Phi: V = W * Phi.
        density, include, exclude: as for `sites`.
        grads: "hook" multiplies each gradient in the backward pass: bitwise equal on one
            process, and stock gradient clipping is right. "foreach" multiplies all gradients at
            once in the optimizer step: fewer launches, equal up to rounding where gradients are
            accumulated or all-reduced; clip with `clip_grad_norm_` of the engine only, and note
            that `p.grad` holds dL/dV.

    Raises:
        DensityError, SiteError: as for `sites`.
        EngineError: the model has an engine already.
    """

    def __init__(
        self,
        model: nn.Module,
        density: Densities,
        *,
        grads: Literal["hook", "foreach"] = "hook",
        include: Sequence[str] | None = None,
        exclude: Sequence[str] = (),
    ) -> None:
        if grads not in ("hook", "foreach"):
            raise ValueError(f'grads is "hook" or "foreach", but got {grads!r}')
        found = sites(model, density, include=include, exclude=exclude)
        self.density = densities_by_size(density)
        """Coefficients by kernel size."""
        self.sites = tuple(found)
        """Names of the convolutions on which the density acts."""
        self._model = model
        self._grads = grads
        unique = {id(conv.weight): name for name, conv in reversed(found.items())}
        self._names = tuple(name for name in found if name in unique.values())
        self._weights = [found[name].weight for name in self._names]
        if any(self._serves(weight) for engine in _live for weight in engine._weights):
            raise EngineError("the model has an engine already; detach() or restore() that first")
        self._phis = [
            _full_phi(weight, self.density[weight.shape[-1]]) for weight in self._weights
        ]
        # The one copy of W that counts; while the optimizer steps it lies in weight.data.
        self._raw = [weight.detach().clone() for weight in self._weights]
        self._folded: list[Tensor] = []
        self._stock_grads: list[tuple[Tensor, Tensor]] = []
        self._in_step = False
        self._finished = False
        self._optimizer: Optimizer | None = None
        self._optimizer_hooks: list[RemovableHandle] = []
        self._gradient_hooks = [
            _hook(weight, self._gradient_hook(index)) for index, weight in enumerate(self._weights)
        ]
        self._versions: list[int] = []
        self._frozen_strangers: list[Tensor] = []
        self._pending: dict[str, Tensor] = {}
        self._fold()
        _live.add(self)

    @property
    def attached(self) -> bool:
        """Whether an optimizer is attached; a trainer asserts it before its first step."""
        return self._optimizer is not None

    def attach(self, optimizer: Optimizer) -> None:
        """Make every step of the optimizer a step on W.

        From now on `optimizer.state_dict()` holds W, and `optimizer.load_state_dict()` restores W
        and V from it, dead taps included.

        Raises:
            EngineError: an optimizer is attached already, the engine is finished, the optimizer
                evaluates closures (LBFGS), does not own every site that is trained, or the
                weights of the model are no longer W * Phi.
        """
        if self._finished:
            raise EngineError("the engine was detached; build a new one")
        if self._optimizer is not None:
            raise EngineError("an optimizer is attached already; one engine serves one optimizer")
        if isinstance(optimizer, LBFGS):
            raise EngineError(_NO_CLOSURE)
        self._check_owner(optimizer)
        for index in range(len(self._weights)):
            self._check_untouched(index, by_value=True)
        # A compiled hook would exchange names instead of memory: both would lie in one tensor.
        # Here and not as a decorator: it imports the compiler, which takes a second.
        before, after = map(torch.compiler.disable, (self._before_step, self._after_step))
        self._optimizer_hooks = [
            optimizer.register_step_pre_hook(before),
            optimizer.register_step_post_hook(after),
            optimizer.register_state_dict_post_hook(self._save),
            optimizer.register_load_state_dict_pre_hook(self._read),
            optimizer.register_load_state_dict_post_hook(self._load),
        ]
        self._optimizer = optimizer
        if self._grads == "foreach":
            self._remove_gradient_hooks()  # they only guarded against a backward before attach

    def clip_grad_norm_(self, max_norm: float, norm_type: float = 2.0) -> Tensor:
        """Clip the gradients of the model by the global norm of dL/dW, and return that norm.

        The same as `nn.utils.clip_grad_norm_`, for both gradient modes.
        """
        if self._grads == "hook":
            return nn.utils.clip_grad_norm_(self._model.parameters(), max_norm, norm_type)
        phis = {id(w): phi for w, phi in zip(self._weights, self._phis, strict=True)}
        stock_grads: list[Tensor] = []
        raw_grads: list[Tensor] = []
        for parameter in self._model.parameters():
            if parameter.grad is not None:
                phi = phis.get(id(parameter))
                stock_grads.append(parameter.grad)
                raw_grads.append(parameter.grad if phi is None else parameter.grad * phi)
        if not raw_grads:
            return torch.tensor(0.0)
        norms = [torch.linalg.vector_norm(grad, norm_type) for grad in raw_grads]
        total: Tensor = torch.linalg.vector_norm(torch.stack(norms), norm_type)
        # Phi * (c g) = c (Phi * g): the stock gradients are scaled, Phi comes with the step.
        coefficient = (max_norm / (total + 1e-6)).clamp(max=1.0)
        for grad in stock_grads:
            grad.mul_(coefficient)
        return total

    def raw_weights(self) -> dict[str, Tensor]:
        """Return copies of W by site name; tied weights appear once, under their first name."""
        self._check_not_in_step()
        return {name: raw.clone() for name, raw in self._raw_by_name().items()}

    @torch.no_grad()
    def adopt_weights(self) -> None:
        """Take the weights that the model holds now as V, after they were changed by hand.

        W = V / Phi, which is off by a rounding error; a tap where Phi is 0 keeps its W.
        """
        self._check_not_in_step()
        for raw, weight, phi in zip(self._raw, self._weights, self._phis, strict=True):
            raw.copy_(torch.where(phi == 0, raw, weight / phi))
        self._fold()

    @torch.no_grad()
    def repair(self) -> None:
        """Give the model its V back after `optimizer.step()` raised an exception.

        W stays as the optimizer left it, possibly updated in part, which is how the same exception
        leaves conv(x, W * Phi). Without an interrupted step nothing happens.
        """
        if self._in_step:
            self._give_back()

    def detach(self) -> None:
        """End the engine and leave a plain network that holds V; it is the folded network."""
        self._check_not_in_step()
        for handle in self._optimizer_hooks:
            handle.remove()
        self._remove_gradient_hooks()
        self._optimizer = None
        self._finished = True
        _live.discard(self)

    @torch.no_grad()
    def restore(self) -> None:
        """End the engine and put W back into the model, bitwise, as before the engine."""
        self.detach()
        for raw, weight in zip(self._raw, self._weights, strict=True):
            weight.copy_(raw)

    # The optimizer step ------------------------------------------------------------------------

    @torch.no_grad()
    def _before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        self._check_not_in_step()
        if any(callable(argument) for argument in (*args, *kwargs.values())):
            raise EngineError(_NO_CLOSURE)
        if any(weight.requires_grad for weight in self._frozen_strangers):
            self._check_owner(optimizer)
        for index in range(len(self._weights)):
            self._check_untouched(index)
        if self._grads == "foreach":
            self._lend_gradients()
        # Pointers are exchanged, nothing is copied.
        self._folded = [weight.data for weight in self._weights]
        self._in_step = True
        for weight, raw in zip(self._weights, self._raw, strict=True):
            weight.data = raw

    @torch.no_grad()
    def _after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        self._give_back()

    def _lend_gradients(self) -> None:
        # p.grad itself stays dL/dV: a second step without a backward must not scale it again.
        stock: list[tuple[Tensor, Tensor]] = []
        phis: list[Tensor] = []
        for weight, phi in zip(self._weights, self._phis, strict=True):
            if weight.grad is not None:
                stock.append((weight, weight.grad))
                phis.append(phi)
        if stock:
            raw_grads = torch._foreach_mul([grad for _, grad in stock], phis)
            for (weight, _), raw_grad in zip(stock, raw_grads, strict=True):
                weight.grad = raw_grad
        self._stock_grads = stock

    def _give_back(self) -> None:
        # An optimizer may have put another tensor into weight.data: read W from there.
        self._raw = [weight.data for weight in self._weights]
        for weight, folded in zip(self._weights, self._folded, strict=True):
            weight.data = folded
        for weight, grad in self._stock_grads:
            weight.grad = grad
        self._stock_grads = []
        self._folded = []
        self._in_step = False
        self._fold()

    @torch.no_grad()
    def _fold(self) -> None:
        # In place on the parameters, not on .data: version counters then catch a graph that was
        # recorded before the step. Copy first: it needs no temporary of the size of W.
        torch._foreach_copy_(self._weights, self._raw)
        torch._foreach_mul_(self._weights, self._phis)
        self._versions = [weight._version for weight in self._weights]

    def _gradient_hook(self, index: int) -> Callable[[Tensor], Tensor]:
        phi = self._phis[index]

        def scale(grad: Tensor) -> Tensor:
            if self._optimizer is None:
                raise EngineError(
                    "backward before attach: without engine.attach(optimizer) the optimizer would "
                    "train V as if there were no density"
                )
            self._check_not_in_step()
            self._check_untouched(index)  # another optimizer may have stepped on V
            return grad * phi

        return scale

    def _remove_gradient_hooks(self) -> None:
        for handle in self._gradient_hooks:
            handle.remove()
        self._gradient_hooks = []

    # The checkpoint ----------------------------------------------------------------------------

    def _save(self, optimizer: Optimizer, state_dict: dict[str, Any]) -> None:
        self._check_not_in_step()
        save_raw_weights(state_dict, self.density, self._raw_by_name())

    def _read(self, optimizer: Optimizer, state_dict: dict[str, Any]) -> None:
        self._check_not_in_step()
        self._pending = read_raw_weights(state_dict, self.density, self._raw_by_name())

    @torch.no_grad()
    def _load(self, optimizer: Optimizer) -> None:
        for name, raw in self._raw_by_name().items():
            raw.copy_(self._pending[name])
        self._pending = {}
        self._fold()

    # The guards --------------------------------------------------------------------------------

    def _check_owner(self, optimizer: Optimizer) -> None:
        owned = {id(p) for group in optimizer.param_groups for p in group["params"]}
        named = zip(self._names, self._weights, strict=True)
        strangers = [(name, weight) for name, weight in named if id(weight) not in owned]
        missing = [name for name, weight in strangers if weight.requires_grad]
        if missing:
            raise EngineError(
                f"one optimizer must own all site weights, but {', '.join(missing)} are not in it"
            )
        self._frozen_strangers = [weight for _, weight in strangers]

    def _check_untouched(self, index: int, *, by_value: bool = False) -> None:
        """Raise unless V = W * Phi; where nothing was written since, `by_value` looks anyway."""
        name, weight, raw = self._names[index], self._weights[index], self._raw[index]
        if (weight.device, weight.dtype) != (raw.device, raw.dtype):
            raise EngineError(
                f"{name!r} was moved from {raw.device}, {raw.dtype} to {weight.device}, "
                f"{weight.dtype}; build the engine after the model has its device and dtype"
            )
        # A write of equal values is harmless: DDP broadcasts, a checkpoint loads them.
        written = weight._version != self._versions[index]
        if (written or by_value) and not torch.equal(weight, raw * self._phis[index]):
            raise EngineError(
                f"the weight of {name!r} was changed outside the attached optimizer and is no "
                "longer W * Phi. Resume with optimizer.load_state_dict(); give all ranks the same "
                "initial weights; after a change of your own call adopt_weights()"
            )
        self._versions[index] = weight._version

    def _check_not_in_step(self) -> None:
        if self._in_step:
            raise EngineError(
                "optimizer.step() raised an exception and the model holds W instead of V; call "
                "engine.repair() and zero the gradients before the next step"
            )

    def _raw_by_name(self) -> dict[str, Tensor]:
        return dict(zip(self._names, self._raw, strict=True))

    def _serves(self, weight: Tensor) -> bool:
        return any(weight is own for own in self._weights)


_NO_CLOSURE = (
    "closures are not supported (LBFGS and the like): a closure would evaluate the network while "
    "it holds W instead of V; train with replace_convolutions instead"
)

_live: "weakref.WeakSet[DensityEngine]" = weakref.WeakSet()


def _full_phi(weight: Tensor, density: tuple[float, ...]) -> Tensor:
    """Phi in the shape, strides, dtype and device of the weight.

    Full size, because torch's multi-tensor kernels fall back to one launch per tensor where
    shapes differ (pytorch issues 62167 and 106427).
    """
    density_N = torch.tensor(density, dtype=weight.dtype, device=weight.device)
    return torch.empty_like(weight).copy_(outer_kernel(density_N, weight.dim() - 2))


def _hook(weight: Tensor, scale: Callable[[Tensor], Tensor]) -> RemovableHandle:
    # A frozen weight takes no hook, but keeps one: it may be unfrozen later.
    frozen = not weight.requires_grad
    weight.requires_grad_(True)
    handle: RemovableHandle = weight.register_hook(scale)  # type: ignore[no-untyped-call]  # torch does not annotate it
    weight.requires_grad_(not frozen)
    return handle
