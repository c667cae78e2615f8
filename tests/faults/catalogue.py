"""How long runs break: every fault that we know of, with the tests that inject it.

Numbers: F = faults of machines and processes, N = numbers that go wrong, B = bad inputs. What other tools make of them:
docs/reliability.md, `make faults`.
"""

HERE = "tests/faults/"
SAVES, OUTPUT, RUNS = (
    "tests/test_checkpoint.py::",
    "tests/training/test_lost_output.py::",
    "tests/training/test_run_folder.py::",
)
RESEALED, PLACES, NUMBERS = f"{HERE}test_resealed.py::", f"{HERE}test_places.py::", f"{HERE}test_numbers.py::"
FOREIGN, ARRAYS = f"{HERE}test_foreign_files.py::", "tests/targets/test_target_arrays.py::"
LOST, RANKS = f"{HERE}test_lost_ranks.py::", "tests/ranks/test_training_on_ranks.py::"
CONFIG, BAD = "tests/config/test_config.py::", "tests/cli/test_bad_input.py::"

# Number → what happens, and the tests.
ROWS: dict[str, tuple[str, tuple[str, ...]]] = {
    "F1": (
        "killed in a save, at any moment and at each system call",
        (f"{SAVES}test_killed_in_the_middle_of_a_save", f"{SAVES}test_killed_at_each_system_call_of_a_save"),
    ),
    "F2": (
        "the disk is full",
        (f"{SAVES}test_a_disk_that_fills_up", f"{OUTPUT}test_a_disk_that_fills_up", f"{OUTPUT}test_a_disk_that_has_room_again"),
    ),
    "F3": (
        "files may not grow (RLIMIT_FSIZE)",
        (f"{OUTPUT}test_a_disk_that_fills_up", f"{OUTPUT}test_metrics_that_can_not_be_written"),
    ),
    "F4": ("the newest checkpoint is cut off", (f"{SAVES}test_every_truncation_is_noticed",)),
    "F5": (
        "a bit flips",
        (
            f"{SAVES}test_every_flipped_bit_is_noticed",
            "tests/test_atomic_files.py::test_every_flipped_bit_of_a_record_is_noticed",
        ),
    ),
    "F6": (
        "two runs in one folder",
        (f"{RUNS}test_a_second_run_is_refused_until_the_first_is_dead", f"{RUNS}test_of_many_that_come_at_once_one_gets_in"),
    ),
    "F7": (
        "a place that can't be written to",
        (
            f"{RUNS}test_a_read_only_place_is_named",
            f"{OUTPUT}test_a_disk_that_becomes_read_only",
            f"{PLACES}test_a_read_only_run_is_refused_before_the_work",
        ),
    ),
    "F8": (
        "a path that leads nowhere, to a folder, or is empty",
        (f"{RUNS}test_what_can_not_be_used_is_refused_and_untouched", f"{PLACES}test_an_empty_path_is_no_path"),
    ),
    "F9": (
        "SIGTERM",
        ("tests/training/test_training.py::test_a_signal_saves_and_exits", f"{OUTPUT}test_signals_save"),
    ),
    "F10": (
        "SIGINT",
        (
            "tests/training/test_training.py::test_a_signal_saves_and_exits",
            "tests/cli/test_command.py::test_ctrl_c_before_training_begins",
        ),
    ),
    "F11": ("killed between two steps", (f"{PLACES}test_a_killed_run_loses_no_more_than_it_had_not_saved",)),
    "F12": (
        "a resumed run is the same run",
        (
            "tests/training/test_training.py::test_a_resumed_run_is_the_same_run",
            "tests/training/test_watch.py::test_a_resumed_run_sees_the_same",
        ),
    ),
    "F13": (
        "resumed with other threads, versions, ranks",
        (f"{SAVES}test_a_resume_that_is_not_bit_exact_says_why", f"{RANKS}test_a_run_goes_on_on_another_number_of_processes"),
    ),
    "F14": (
        "evaluation between a save and the next step",
        ("tests/training/test_training.py::test_evaluation_between_iterations_changes_nothing",),
    ),
    "F15": ("a pool in half precision", (f"{RESEALED}test_what_was_sealed_with_other_contents_is_refused",)),
    "F16": ("the state of a schedule is left out", ("tests/training/test_training.py::test_schedules",)),
    "F17": (
        "an 8-bit optimizer comes back",
        ("tests/training/test_optimizer_state.py::test_an_optimizer_goes_on_bit_for_bit",),
    ),
    "F18": (
        "a rank is killed",
        (f"{LOST}test_torchrun_has_the_cause_in_its_summary", f"{RANKS}test_what_torchrun_starts_anew_goes_on"),
    ),
    "F19": ("a rank raises", (f"{LOST}test_a_rank_is_killed_raises_or_leaves",)),
    "F20": ("a rank hangs", (f"{LOST}test_a_rank_hangs", "tests/process/test_parting.py::test_it_ends_whatever_it_is_doing")),
    "F21": ("a rank leaves early", (f"{LOST}test_a_rank_is_killed_raises_or_leaves", f"{LOST}test_one_rank_is_told_to_stop")),
    "F22": ("NaN on one rank", (f"{RANKS}test_nan_on_one_rank_is_skipped_by_all",)),
    "F23": ("ranks of different shapes", (f"{LOST}test_ranks_of_other_shapes_configs_and_bodies_are_refused",)),
    "F24": ("the launcher is killed", (f"{LOST}test_the_launcher_is_ended",)),
    "F25": ("memory grows", ("tests/training/test_leaks.py::test_five_thousand_iterations_leave_nothing_behind",)),
    "F26": ("saving itself raises", (f"{SAVES}test_what_can_not_be_saved_leaves_the_old_one",)),
    "F27": (
        "tidying is cut short",
        (
            f"{SAVES}test_leftovers_are_swept_but_not_those_of_the_living",
            f"{SAVES}test_damaged_later_ones_never_push_out_the_good_one",
        ),
    ),
    "F28": ("the clock jumps", (f"{SAVES}test_order_is_by_step_whatever_the_clock_says",)),
    "N1": ("one NaN in one gradient", ("tests/training/test_training.py::test_a_non_finite_iteration_is_skipped_and_counted",)),
    "N2": ("NaN gradients for long", ("tests/training/test_recovery.py::test_without_retries_the_last_good_state_is_left",)),
    "N3": (
        "a loss that is no number",
        ("tests/training/test_recovery.py::test_a_loss_that_is_never_a_number_fails_at_iteration_0",),
    ),
    "N4": (
        "NaN in the pool",
        (
            "tests/training/test_watch.py::test_states_that_were_lost_are_counted_and_logged",
            f"{NUMBERS}test_a_cube_that_is_lost_is_counted",
        ),
    ),
    "N5": (
        "all bodies are dead",
        ("tests/training/test_recovery.py::test_a_run_that_dies_out_fails_with_its_cause_and_no_report",),
    ),
    "N6": ("states that overflow", (f"{NUMBERS}test_states_that_overflow_are_told_and_nothing_is_spoilt",)),
    "N7": (
        "a loss spike",
        (
            "tests/training/test_watch.py::test_a_spike_is_marked_and_the_run_goes_on",
            "tests/training/test_watch.py::test_a_spike_leads_back_where_it_is_asked_to",
        ),
    ),
    "N8": (
        "gradients of zero, or whose norm overflows",
        (
            f"{NUMBERS}test_a_gradient_of_zero_stays_zero",
            "tests/training/test_watch.py::test_a_norm_that_overflows_is_no_gradient",
        ),
    ),
    "B1": ("a pickle with code in it", (f"{FOREIGN}test_a_pickle_is_never_run",)),
    "B2": ("something else under a checkpoint's name", (f"{FOREIGN}test_what_is_no_checkpoint_is_one_line",)),
    "B3": (
        "archives that unpack to gigabytes",
        (f"{FOREIGN}test_what_is_no_checkpoint_is_one_line", f"{ARRAYS}test_npz_bombs_and_broken_archives"),
    ),
    "B4": ("other layouts in a checkpoint", (f"{SAVES}test_what_can_not_be_saved_leaves_the_old_one",)),
    "B5": (
        "another format version, keys missing or added",
        (
            f"{SAVES}test_a_manifest_that_does_not_fit_is_named",
            f"{RESEALED}test_what_was_sealed_with_other_contents_is_refused",
        ),
    ),
    "B6": (
        "other shapes, dtypes or types",
        (f"{RESEALED}test_what_was_sealed_with_other_contents_is_refused", f"{RESEALED}test_weights_are_never_cast"),
    ),
    "B7": (
        "another optimizer's state",
        (
            f"{RESEALED}test_what_was_sealed_with_other_contents_is_refused",
            "tests/training/test_optimizer_state.py::test_state_that_does_not_fit_is_refused_and_nothing_touched",
        ),
    ),
    "B8": ("Python objects in a checkpoint", (f"{SAVES}test_what_can_not_be_saved_leaves_the_old_one",)),
    "B9": (
        "a generator's state that is none",
        ("tests/pools/test_state_pool.py::test_a_spoiled_save_is_refused_by_field_and_changes_nothing",),
    ),
    "B10": ("arrays of objects", (f"{ARRAYS}test_bad_arrays_are_refused",)),
    "B11": (
        "array files whose headers lie",
        (f"{ARRAYS}test_npy_headers_are_weighed_before_they_are_believed", f"{ARRAYS}test_npz_bombs_and_broken_archives"),
    ),
    "B12": ("broken safetensors", (f"{FOREIGN}test_broken_tensors_are_one_line",)),
    "B13": (
        "tensors named twice, NaN",
        (
            "tests/test_atomic_files.py::test_a_name_that_stands_twice_is_refused",
            f"{SAVES}test_numbers_that_are_not_finite_are_neither_saved_nor_loaded",
        ),
    ),
    "B14": ("a config that is code", ("tests/config/test_plugins.py::test_no_verb_runs_the_code_of_a_folder",)),
    "B15": (
        "values that read like others",
        (f"{CONFIG}test_a_wrong_value_is_one_line", f"{HERE}test_configs.py::test_traps_of_a_config_file"),
    ),
    "B16": (
        "config files that are no TOML",
        (f"{CONFIG}test_a_bad_file_is_one_line", f"{HERE}test_configs.py::test_traps_of_a_config_file"),
    ),
    "B17": (
        "unknown keys, wrong types, out of range",
        (f"{BAD}test_all_config_errors_at_once", f"{HERE}test_configs.py::test_sixty_thousand_unknown_fields_are_a_few_lines"),
    ),
    "B18": ("archives that lead out of their folder", (f"{FOREIGN}test_nothing_is_unpacked_beside_an_archive",)),
    "B19": (
        "links out of a run",
        (f"{SAVES}test_a_link_is_followed_only_when_asked_for", f"{PLACES}test_a_checkpoint_has_files_of_its_own"),
    ),
    "B20": ("meshes with NaN", ("tests/targets/test_target_meshes.py::test_broken_meshes_are_refused",)),
    "B21": ("empty and flat meshes", ("tests/targets/test_target_meshes.py::test_broken_meshes_are_refused",)),
    "B22": (
        "meshes that are not watertight",
        ("tests/targets/test_target_meshes.py::test_fill_margin_colour_and_surface_only",),
    ),
    "B23": ("a scale that asks for too many cells", ("tests/targets/test_target_load.py::test_sizes_are_checked",)),
    "B24": ("mesh headers that promise too much", ("tests/targets/test_target_meshes.py::test_broken_meshes_are_refused",)),
    "B25": (
        "targets that don't fit",
        (f"{BAD}test_one_line_exit_2_nothing_written", f"{ARRAYS}test_larger_than_the_lattice_names_both_sizes"),
    ),
    "B26": (
        "a batch larger than the pool",
        (f"{BAD}test_one_line_exit_2_nothing_written", f"{CONFIG}test_fields_that_contradict_each_other"),
    ),
    "B27": (
        "a lattice that no machine has room for",
        (f"{BAD}test_one_line_exit_2_nothing_written", f"{RESEALED}test_a_rule_that_asks_for_gigabytes_is_refused_by_its_size"),
    ),
    "B28": (
        "a teacher that doesn't fit",
        (
            "tests/cube/teacher/test_tfidf.py::test_damaged_folders",
            "tests/cube/teacher/test_transformer.py::test_weights_that_are_not_finite",
        ),
    ),
    "B29": ("numbers out of range", (f"{CONFIG}test_a_wrong_value_is_one_line",)),
}
