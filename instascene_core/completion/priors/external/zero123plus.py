"""Zero123++ (Shi et al. 2023, arXiv 2310.15110): six views of an object from one image of it, as one picture.

Stable Diffusion's parts; the six views are a grid of three rows of two.  The image conditions them twice: its
self-attention features, at the same noise level, are keys and values of the grid's self-attention (reference
attention), and its CLIP embedding is added to the empty prompt's, scaled by a ramp over the tokens.  Written
after the report and the layout of its public weights; none of its code is used.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.attention_processor import AttnProcessor2_0

from instascene_core.errors import InputError
from instascene_core.pipelines import licence_of, pipeline_folder
from instascene_core.threads import one_thread
from instascene_core.untrusted import one_line, read_json_object

ROWS, COLUMNS = 3, 2
# The autoencoder sees less contrast than images have; latents are shifted and scaled (as released).
LATENT_SHIFT, LATENT_SCALE, IMAGE_SCALE = 0.22, 0.75, 0.5 / 0.8
PARTS = {  # subfolder → library, class
    "vae": ("diffusers", "AutoencoderKL"),
    "unet": ("diffusers", "UNet2DConditionModel"),
    "scheduler": ("diffusers", "EulerAncestralDiscreteScheduler"),
    "text_encoder": ("transformers", "CLIPTextModel"),
    "tokenizer": ("transformers", "CLIPTokenizer"),
    "vision_encoder": ("transformers", "CLIPVisionModelWithProjection"),
    "feature_extractor_vae": ("transformers", "CLIPImageProcessor"),
    "feature_extractor_clip": ("transformers", "CLIPImageProcessor"),
}


@dataclass
class _Reference:
    """What the self-attention layers keep of the image, and whether they write, read or ignore it."""

    mode: str = "ignore"
    states: dict[str, torch.Tensor] = field(default_factory=dict)  # [1, P, C] by layer


class _ReferenceAttention:
    """Self-attention whose keys and values are those of the image as well."""

    def __init__(self, name: str, reference: _Reference) -> None:
        self.name, self.reference, self.plain = name, reference, AttnProcessor2_0()

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, temb=None):
        if self.reference.mode == "write":
            self.reference.states[self.name] = hidden_states
        elif self.reference.mode == "read":
            encoder_hidden_states = torch.cat([hidden_states, self.reference.states[self.name]], dim=1)
        return self.plain(attn, hidden_states, encoder_hidden_states, attention_mask, temb)


class Zero123Plus:
    """The parts in a local folder."""

    def __init__(self, folder: Path) -> None:
        """Only local files and safetensors.  Raises InputError in one sentence for what is no such folder."""
        what = "the prior 'zero123plus'"
        self.folder = folder = pipeline_folder(folder, "completion.zero123plus.checkpoint", what)
        self.licence = licence_of(folder)
        try:
            self.parts = {name: _part(folder, name) for name in PARTS}
            ramp = read_json_object(folder / "model_index.json")["ramping_coefficients"]
            self.ramp = torch.tensor(ramp, dtype=torch.float32)[:, None]  # [tokens, 1]
        except (
            Exception
        ) as error:  # whatever a damaged file makes json, torch, diffusers or transformers raise
            raise InputError(
                f"The folder '{folder}' holds no pipeline of Zero123++'s layout ({one_line(error)})."
            ) from error
        self._reference = _Reference()
        unet = self.parts["unet"]
        unet.set_attn_processor({
            name: _ReferenceAttention(name, self._reference) if ".attn1." in name else AttnProcessor2_0()
            for name in unet.attn_processors
        })  # fmt: skip

    def generate(
        self,
        rgb: np.ndarray,
        seed: int,
        side: int,
        steps: int,
        guidance: float,
        on_step: Callable[[int, int], None] = lambda done, total: None,
    ) -> np.ndarray:
        """Six views [6, side, side, 3] float32 in [0, 1] of the object in `rgb` [S, S, 3] uint8, on grey.

        guidance: of the image; 1 = none.  on_step: told the passes done and their number before each; may
        raise to stop.  Same arguments, same bits.
        """
        generator = torch.Generator().manual_seed(seed)
        with one_thread(), torch.inference_mode():
            image = self._encoded(rgb, generator)
            plain, told = self._embeddings(rgb)
            latents = self._denoised(image, plain, told, generator, side, steps, guidance, on_step)
            vae = self.parts["vae"]
            latents = latents / LATENT_SCALE + LATENT_SHIFT
            grid = vae.decode(latents / vae.config.scaling_factor).sample[0] / IMAGE_SCALE
        grid = (grid.clamp(-1, 1) / 2 + 0.5).numpy()
        views = grid.reshape(3, ROWS, side, COLUMNS, side).transpose(1, 3, 2, 4, 0)
        return np.ascontiguousarray(views.reshape(-1, side, side, 3), dtype=np.float32)

    def _denoised(self, image, plain, told, generator, side, steps, guidance, on_step) -> torch.Tensor:
        """Latents [1, C, h, w] of the grid."""
        scheduler, unet = self.parts["scheduler"], self.parts["unet"]
        scheduler.set_timesteps(steps)
        scale = 2 ** (len(self.parts["vae"].config.block_out_channels) - 1)
        shape = (1, image.shape[1], ROWS * side // scale, COLUMNS * side // scale)
        latents = scheduler.init_noise_sigma * torch.randn(shape, generator=generator)
        for index, step in enumerate(scheduler.timesteps):
            on_step(index, steps)
            noise = torch.randn(image.shape, generator=generator)
            noisy = scheduler.scale_model_input(scheduler.add_noise(image, noise, step.reshape(1)), step)
            given = scheduler.scale_model_input(latents, step)
            self._reference.mode = "write"
            unet(noisy, step, encoder_hidden_states=told)
            self._reference.mode = "read"
            answer = unet(given, step, encoder_hidden_states=told).sample
            self._reference.mode = "ignore"
            if guidance > 1:
                without = unet(given, step, encoder_hidden_states=plain).sample
                answer = without + guidance * (answer - without)
            latents = scheduler.step(answer, step, latents, generator=generator).prev_sample
        return latents

    def _encoded(self, rgb: np.ndarray, generator: torch.Generator) -> torch.Tensor:
        """[1, C, h, w] latents of the image."""
        pixels = self.parts["feature_extractor_vae"](images=rgb, return_tensors="pt").pixel_values
        return self.parts["vae"].encode(pixels).latent_dist.sample(generator)

    def _embeddings(self, rgb: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Embeddings [1, tokens, D] of the empty prompt, and with the image's added along the ramp."""
        tokenizer = self.parts["tokenizer"]
        words = tokenizer(
            "", padding="max_length", max_length=tokenizer.model_max_length, return_tensors="pt"
        )
        plain = self.parts["text_encoder"](words.input_ids).last_hidden_state
        pixels = self.parts["feature_extractor_clip"](images=rgb, return_tensors="pt").pixel_values
        return plain, plain + self.parts["vision_encoder"](pixels).image_embeds[:, None] * self.ramp


def _part(folder: Path, name: str) -> Any:
    import diffusers
    import transformers

    library, kind = PARTS[name]
    made = getattr(diffusers if library == "diffusers" else transformers, kind)
    options: dict[str, Any] = {"local_files_only": True, "subfolder": name}
    if name in ("vae", "unet", "text_encoder", "vision_encoder"):
        options["use_safetensors"] = True
        options["torch_dtype"] = torch.float32
    part = made.from_pretrained(folder, **options)
    if name == "scheduler":  # as the authors use it
        part = made.from_config(part.config, timestep_spacing="trailing")
    return part.eval() if isinstance(part, torch.nn.Module) else part
