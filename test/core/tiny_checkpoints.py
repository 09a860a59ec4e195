"""Checkpoint folders of the true architectures with random weights, small enough for a test."""

import json
from pathlib import Path

import torch


def write_mask2former(folder: Path, seed: int = 0, **size):
    """Mask2Former with a Swin backbone; the model that was written.  size: as in a preprocessor file."""
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig

    torch.manual_seed(seed)
    backbone = SwinConfig(
        image_size=64, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = Mask2FormerConfig(
        backbone_config=backbone, feature_size=32, mask_feature_size=32, hidden_dim=32,
        encoder_feedforward_dim=16, dim_feedforward=16, encoder_layers=1, decoder_layers=3,
        num_attention_heads=2, num_queries=8, num_labels=3,
    )  # fmt: skip
    model = _spread(Mask2FormerForUniversalSegmentation(config))
    model.save_pretrained(folder)
    settings = {"size": size or {"shortest_edge": 64, "longest_edge": 128}, "size_divisor": 32}
    settings |= {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.25, 0.3]}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return model


def write_sam2(folder: Path, seed: int = 0, image_size: int = 64):
    """SAM 2 for images, with a Hiera backbone; the model that was written."""
    from transformers import (
        Sam2Config,
        Sam2HieraDetConfig,
        Sam2MaskDecoderConfig,
        Sam2Model,
        Sam2PromptEncoderConfig,
        Sam2VisionConfig,
    )

    torch.manual_seed(seed)
    backbone = Sam2HieraDetConfig(
        hidden_size=8, image_size=[image_size] * 2, blocks_per_stage=[1, 1, 2, 1],
        embed_dim_per_stage=[8, 16, 32, 64], num_attention_heads=1,
        num_attention_heads_per_stage=[1, 1, 2, 2], window_size_per_stage=[4, 4, 4, 4],
        global_attention_blocks=[3], window_positional_embedding_background_size=[4, 4],
    )  # fmt: skip
    vision = Sam2VisionConfig(
        backbone_config=backbone, backbone_channel_list=[64, 32, 16, 8], fpn_hidden_size=32,
        backbone_feature_sizes=[[image_size // step] * 2 for step in (4, 8, 16)],
    )  # fmt: skip
    prompts = Sam2PromptEncoderConfig(hidden_size=32, image_size=image_size, mask_input_channels=4)
    decoder = Sam2MaskDecoderConfig(hidden_size=32, mlp_dim=32, num_attention_heads=2, iou_head_hidden_dim=16)
    config = Sam2Config(vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=decoder)
    model = _spread(Sam2Model(config))
    model.save_pretrained(folder)
    return model


def write_sam2_video(folder: Path, images: torch.nn.Module) -> None:
    """The kind the public SAM 2 checkpoints are of: the network for images, and a memory besides."""
    from transformers import Sam2VideoConfig, Sam2VideoModel

    parts = ("vision_config", "prompt_encoder_config", "mask_decoder_config")
    config = Sam2VideoConfig(
        **{part: getattr(images.config, part).to_dict() for part in parts}, image_size=64,
        memory_attention_hidden_size=32, memory_attention_feed_forward_hidden_size=32,
        memory_attention_num_layers=1, memory_encoder_hidden_size=32, memory_encoder_output_channels=8,
        mask_downsampler_embed_dim=32, memory_fuser_embed_dim=32, memory_fuser_intermediate_dim=32,
    )  # fmt: skip
    model = Sam2VideoModel(config)
    model.load_state_dict({**model.state_dict(), **images.state_dict()})
    model.save_pretrained(folder)


def write_inpainting(folder: Path, seed: int = 0) -> None:
    """Stable Diffusion's inpainting pipeline: U-Net of 9 channels, autoencoder by 8, CLIP's text encoder."""
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionInpaintPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(seed)
    unet = UNet2DConditionModel(
        in_channels=9, out_channels=4, block_out_channels=(8, 16), layers_per_block=1, cross_attention_dim=16,
        attention_head_dim=8, norm_num_groups=4, sample_size=8,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )  # fmt: skip
    text = CLIPTextConfig(
        vocab_size=3, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=8, bos_token_id=0, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    StableDiffusionInpaintPipeline(
        vae=small_autoencoder(AutoencoderKL), text_encoder=CLIPTextModel(text),
        tokenizer=small_tokenizer(folder), unet=unet, scheduler=DDIMScheduler(steps_offset=1),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    ).save_pretrained(folder)  # fmt: skip


def write_zero123plus(folder: Path, seed: int = 0) -> None:
    """Zero123++: Stable Diffusion's parts, CLIP's image encoder, ramp over the tokens."""
    from diffusers import AutoencoderKL, EulerAncestralDiscreteScheduler, UNet2DConditionModel
    from transformers import (
        CLIPImageProcessor,
        CLIPTextConfig,
        CLIPTextModel,
        CLIPVisionConfig,
        CLIPVisionModelWithProjection,
    )

    torch.manual_seed(seed)
    tokenizer = small_tokenizer(folder)
    tokenizer.save_pretrained(folder / "tokenizer")
    small_autoencoder(AutoencoderKL).save_pretrained(folder / "vae")
    UNet2DConditionModel(
        in_channels=4, out_channels=4, block_out_channels=(8, 16), layers_per_block=1, cross_attention_dim=16,
        attention_head_dim=8, norm_num_groups=4, sample_size=8,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    ).save_pretrained(folder / "unet")  # fmt: skip
    EulerAncestralDiscreteScheduler(prediction_type="v_prediction").save_pretrained(folder / "scheduler")
    CLIPTextModel(CLIPTextConfig(
        vocab_size=3, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=8, bos_token_id=0, eos_token_id=1, pad_token_id=1,
    )).save_pretrained(folder / "text_encoder")  # fmt: skip
    CLIPVisionModelWithProjection(CLIPVisionConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=16,
        patch_size=8, projection_dim=16,
    )).save_pretrained(folder / "vision_encoder")  # fmt: skip
    for name, size in (("feature_extractor_vae", 32), ("feature_extractor_clip", 16)):
        CLIPImageProcessor(size=size, crop_size=size).save_pretrained(folder / name)
    index = {"_class_name": "Zero123PlusPipeline", "ramping_coefficients": [k / 8 for k in range(8)]}
    (folder / "model_index.json").write_text(json.dumps(index))
    (folder / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n")


def small_autoencoder(kind):
    """An AutoencoderKL of 4 channels and an eighth of the side."""
    return kind(
        block_out_channels=(4, 8, 8, 8), layers_per_block=1, latent_channels=4, norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
    )  # fmt: skip


def small_tokenizer(folder: Path):
    """CLIP's tokenizer with one word; its files are written below `folder` first."""
    from transformers import CLIPTokenizer

    words = folder / "words"
    words.mkdir(parents=True)
    (words / "vocab.json").write_text(json.dumps({"<|startoftext|>": 0, "<|endoftext|>": 1, "a</w>": 2}))
    (words / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(str(words / "vocab.json"), str(words / "merges.txt"), model_max_length=8)


def _spread(model: torch.nn.Module) -> torch.nn.Module:
    """Weights by the number of inputs, embeddings by 1: the initial ones give the same answer everywhere."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                embedding = any(word in name for word in ("queries", "embed.weight", "token", "level_embed"))
                parameter.normal_(std=1.0 if embedding else 1.5 / parameter[0].numel() ** 0.5)
    return model.eval()
