"""The noise schedule of the multi-view model and the solvers that go back along it, from diffusers."""

from typing import TYPE_CHECKING

from instascene_core.errors import InputError

if TYPE_CHECKING:
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler
    from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler

STEPS = 1000  # of the training's schedule
_SCHEDULE = {
    "num_train_timesteps": STEPS,
    "beta_schedule": "squaredcos_cap_v2",
    "prediction_type": "v_prediction",
}


def make_solver(name: str) -> "DDIMScheduler | DPMSolverMultistepScheduler":
    """A solver called "ddim" (Song et al. 2021) or "dpm" (DPM-Solver++ of second order, Lu et al. 2022).

    Both start from pure noise (Lin et al. 2024: no signal is left at the last step).  Raises InputError for
    other names.
    """
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler
    from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler

    if name == "ddim":
        return DDIMScheduler(
            **_SCHEDULE, rescale_betas_zero_snr=True, timestep_spacing="trailing", clip_sample=False
        )
    if name == "dpm":
        return DPMSolverMultistepScheduler(
            **_SCHEDULE, rescale_betas_zero_snr=True, timestep_spacing="trailing", solver_order=2
        )
    raise InputError(f"Unknown solver '{name}'; known are ddim, dpm.")


def shares(solver: "DDIMScheduler | DPMSolverMultistepScheduler", step: int) -> tuple[float, float]:
    """(α, σ) of a step of the training's schedule: the shares of image and noise; α² + σ² = 1."""
    left = float(solver.alphas_cumprod[step])
    return left**0.5, (1 - left) ** 0.5
