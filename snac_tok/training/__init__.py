"""The GAN recipe that trains codecs: prepared sound, discriminators, losses and a trainer that resumes exactly.

Training itself needs torch and einops alone, so that it runs where little else is installed; preparing sound
(`clip_making`) needs the audio room, YAML configs ruamel.yaml, curves tensorboard, several processes accelerate.
"""

from snac_tok.training.config import TrainingConfig
from snac_tok.training.data_config import DataConfig, Source
from snac_tok.training.recipe import DecoderConfig, OptimizerConfig, QuantizerConfig
from snac_tok.training.stages import StageConfig
from snac_tok.training.step_report import StepReport
from snac_tok.training.trainer import Trainer

__all__ = [
    "DataConfig",
    "DecoderConfig",
    "OptimizerConfig",
    "QuantizerConfig",
    "Source",
    "StageConfig",
    "StepReport",
    "Trainer",
    "TrainingConfig",
]
