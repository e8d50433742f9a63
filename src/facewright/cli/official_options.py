"""What options of Deng's two training programs are called here, for whoever comes from there."""

from collections.abc import Sequence

from facewright.cli.console import CommandError

OFFICIAL_OPTIONS = {
    "flist": "--data",
    "data_root": "--data",
    "data_path": "--data",
    "flist_val": "--val",
    "val_data_path": "--val",
    "name": "--out",
    "model_name": "--out",
    "checkpoints_dir": "--out",
    "continue_train": "--resume",
    "n_epochs": "--steps",
    "train_maxiter": "--steps",
    "learning_rate": "--lr",
    "lr_policy": "--schedule",
    "lr_decay_epochs": "--decay-every",
    "use_crop_face": "--released-region or --no-released-region",
    "save_by_iter": "--checkpoint-every",
    "net_recon": "--backbone",
    "init_path": "--init",
    "net_recog_path": "--embedder",
    "bfm_folder": "--face-model",
    "gpu_ids": "--device",
    "num_threads": "--workers",
    "print_freq": "--log-every",
    "display_freq": "--sheet-every",
    "evaluation_freq": "--checkpoint-every",
    "save_latest_freq": "--checkpoint-every",
    "save_epoch_freq": "--checkpoint-every",
    "use_aug": "--jitter or --no-jitter",
    "preprocess": "--shift, --scale, --turn and --mirror",
    "shift_pixs": "--shift (a share of the crop's side)",
    "scale_delta": "--scale",
    "rot_angle": "--turn",
    "w_color": "--photometric",
    "w_lm": "--landmark",
    "w_feat": "--perceptual",
    "w_reg": "--coefficient",
    "w_id": "--id-weight",
    "w_exp": "--exp-weight",
    "w_tex": "--tex-weight",
    "w_gamma": "--gamma",
    "w_reflc": "--flattening",
}
"""Their names, without dashes, and ours. Names that are the same (batch_size, lr) are understood."""


def refuse_official_options(args: Sequence[str]) -> None:
    """Say what an option of theirs is called here.

    Raises:
        CommandError: there is one.
    """
    for argument in args:
        name, _, _ = argument.partition("=")
        ours = OFFICIAL_OPTIONS.get(name.removeprefix("--").replace("-", "_")) if name.startswith("--") else None
        if ours is not None:
            raise CommandError(
                f"expected options of facewright, received {name} of Deng's programs: did you mean {ours}?"
            )
