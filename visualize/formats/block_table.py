"""Minecraft's blocks as data: names, colours, woods and dyes; `blocks` says what is asked of them.

The colours are our own estimates of how a block looks on the whole. Names are those of Minecraft 1.20, without "minecraft:".
"""

# Blocks that fill no cell: nothing is seen of them, and nothing collides with them.
AIR = ("air", "cave_air", "void_air", "structure_void")
# Blocks for builders alone, which the game shows to nobody else or replaces when it places a structure.
MARKERS = ("barrier", "light", "jigsaw", "structure_block")

# The planks, log and leaves of each wood.
WOODS = {
    "oak": "a2834f 6d5533 4c7a2f",
    "spruce": "735531 3b2612 3d5c3d",
    "birch": "c1b079 d8d7d2 6f8f4a",
    "jungle": "a17451 55441a 3f8a24",
    "acacia": "a95a32 676157 5d8a2d",
    "dark_oak": "432b14 3c2f1a 3f6b22",
    "mangrove": "763731 544329 4f7a2a",
    "cherry": "e3b3ad 37212d e6adc6",
    "bamboo": "c2ad51 7f8f39 5f8f2f",
    "crimson": "653147 5c191d 73020a",
    "warped": "2b6963 3a3b4e 177a7b",
    "pale_oak": "e4dad8 584d4b 757a70",
}
# The wool, concrete and terracotta of each dye.
DYES = {
    "white": "e9ecec cfd5d6 d2b2a1",
    "orange": "f07613 e06101 a25426",
    "magenta": "bd44b3 a9309f 96586d",
    "light_blue": "3aafd9 2489c7 716d8a",
    "yellow": "f9c628 f1af15 ba8523",
    "lime": "70b919 5ea918 687635",
    "pink": "ed8dac d6658f a24e4f",
    "gray": "3e4447 373a3e 3a2a24",
    "light_gray": "8e8e86 7d7d73 876b62",
    "cyan": "158991 157788 575b5b",
    "purple": "792aac 64209c 764656",
    "blue": "35399d 2d2f8f 4a3c5b",
    "brown": "724728 603c20 4d3324",
    "green": "546d1b 495b24 4c532a",
    "red": "a12722 8e2121 8f3d2f",
    "black": "141519 080a0f 251710",
}
# What a dye colours, and which of its three colours that has.
DYED = {
    "wool": 0, "carpet": 0, "bed": 0, "banner": 0, "wall_banner": 0, "candle": 0, "shulker_box": 0, "stained_glass": 0,
    "stained_glass_pane": 0, "concrete": 1, "concrete_powder": 1, "terracotta": 2, "glazed_terracotta": 1,
}  # fmt: skip
# What is made of a wood's planks, of a tree, and of a giant fungus: trunk, trunk all round, and in trees leaves and young ones.
WOODEN = "planks stairs slab fence fence_gate door trapdoor button pressure_plate sign wall_sign hanging_sign wall_hanging_sign"
TREE, FUNGUS = (("log", "wood"), ("leaves", "sapling")), (("stem", "hyphae"), ())
# The shapes that are cut from a block, which have its colour.
SHAPES = (
    "_stairs",
    "_slab",
    "_wall",
    "_fence",
    "_pressure_plate",
    "_button",
    "_pane",
    "_door",
    "_trapdoor",
    "_grate",
    "_bulb",
    "_fan",
)
# What stands before a block's name and hardly changes its look.
BEFORE = ("waxed_", "infested_", "potted_", "chiseled_", "cracked_", "polished_", "smooth_")
# Words in the name of a block that isn't in the table, and one whose colour it then has.
FAMILIES = """
leaves=oak_leaves sapling=oak_sapling log=oak_log wood=oak_wood planks=oak_planks oak=oak_planks glass=glass water=water
lava=lava sandstone=sandstone sand=sand deepslate=deepslate blackstone=blackstone copper=copper_block iron=iron_block
gold=gold_block quartz=quartz_block nether=nether_bricks coral=dead_tube_coral_block sculk=sculk mushroom=red_mushroom_block
moss=moss_block grass=grass_block dirt=dirt ice=ice snow=snow ore=stone stone=stone cobblestone=cobblestone bricks=bricks
brick=bricks torch=torch lantern=lantern rail=rail chest=chest anvil=anvil skull=skeleton_skull
"""

# Colour and blocks: those of a kind stand together.
BLOCKS = """
7d7d7d stone infested_stone | 7f7f7f cobblestone infested_cobblestone | 6e765e mossy_cobblestone | 9e9e9e smooth_stone
7a797a stone_bricks chiseled_stone_bricks infested_stone_bricks infested_chiseled_stone_bricks
767576 cracked_stone_bricks infested_cracked_stone_bricks | 737969 mossy_stone_bricks infested_mossy_stone_bricks
956756 granite | 9a6b59 polished_granite | bcbcbc diorite | c1c1c3 polished_diorite | 888889 andesite
848685 polished_andesite | 505052 deepslate infested_deepslate | 4d4d50 cobbled_deepslate
484849 polished_deepslate chiseled_deepslate | 464647 deepslate_bricks cracked_deepslate_bricks
363637 deepslate_tiles cracked_deepslate_tiles | 6c6d67 tuff chiseled_tuff polished_tuff tuff_bricks chiseled_tuff_bricks
dfe0dc calcite | 86606b dripstone_block | 866b5c pointed_dripstone | 555555 bedrock | 827f7e gravel suspicious_gravel
dbcfa3 sand suspicious_sand | be6621 red_sand | d8cb9b sandstone cut_sandstone chiseled_sandstone smooth_sandstone
ba631d red_sandstone cut_red_sandstone chiseled_red_sandstone smooth_red_sandstone | 866043 dirt | 77553b coarse_dirt
904c3d rooted_dirt | 7a5a39 podzol | 6f6265 mycelium | 94793f dirt_path | 8f6647 farmland | 6f9a44 grass_block | 3c3a3d mud
896750 mud_bricks | 8e6b50 packed_mud | 4c3a34 muddy_mangrove_roots | a0a6b3 clay | 985e44 terracotta | 966153 bricks
ebe5de quartz_block quartz_pillar chiseled_quartz_block | ece6df smooth_quartz | eae5dd quartz_bricks | 632020 netherrack
754236 nether_quartz_ore | 733828 nether_gold_ore | 2c161a nether_bricks cracked_nether_bricks chiseled_nether_bricks
460709 red_nether_bricks | 730302 nether_wart_block | 167e86 warped_wart_block | 83201f crimson_nylium | 2b7265 warped_nylium
51403e ancient_debris | 513f33 soul_sand | 4c3a2f soul_soil | 484a4f basalt smooth_basalt | 58585b polished_basalt
2a2329 blackstone | 353139 polished_blackstone chiseled_polished_blackstone
302b32 polished_blackstone_bricks cracked_polished_blackstone_bricks | 372a26 gilded_blackstone | 8f3f20 magma_block
dddfa5 end_stone | dae0a2 end_stone_bricks | a97da9 purpur_block | ab7fab purpur_pillar | 0f0a18 obsidian
200a3c crying_obsidian | 639c97 prismarine | 63ab9e prismarine_bricks | 335b4b dark_prismarine | acc8be sea_lantern
c4bf4a sponge | abb546 wet_sponge | 696966 coal_ore | 88817a iron_ore | 91866b gold_ore | 798d8c diamond_ore
6c8873 emerald_ore | 6b7686 lapis_ore | 8c6e6d redstone_ore | 7c7d78 copper_ore | 4a4a4c deepslate_coal_ore
6b645f deepslate_iron_ore | 73674e deepslate_gold_ore | 536a6a deepslate_diamond_ore | 4e6857 deepslate_emerald_ore
505b73 deepslate_lapis_ore | 68494a deepslate_redstone_ore | 5c5d59 deepslate_copper_ore | 101010 coal_block
dcdcdc iron_block | f6d03e gold_block | 62ede4 diamond_block | 2acb58 emerald_block | 1f438c lapis_block
b01905 redstone_block | 434043 netherite_block | a6886c raw_iron_block | dea92f raw_gold_block | 9a6a4f raw_copper_block
c06c50 copper_block cut_copper chiseled_copper waxed_copper_block waxed_cut_copper waxed_chiseled_copper
a17d68 exposed_copper exposed_cut_copper exposed_chiseled_copper waxed_exposed_copper waxed_exposed_cut_copper
6d9173 weathered_copper weathered_cut_copper weathered_chiseled_copper waxed_weathered_copper waxed_weathered_cut_copper
52a385 oxidized_copper oxidized_cut_copper oxidized_chiseled_copper waxed_oxidized_copper waxed_oxidized_cut_copper
8662bf amethyst_block budding_amethyst | a57ed2 amethyst_cluster small_amethyst_bud medium_amethyst_bud large_amethyst_bud
f9fefe snow snow_block powder_snow | 91b7fd ice frosted_ice | 8db4fa packed_ice | 74a8fd blue_ice | 3f76e4 water bubble_column
d45a12 lava | c6d7d9 glass | 2c262e tinted_glass | 7fbf6f slime_block | fbb94f honey_block | e5940f honeycomb_block
ca8f30 beehive | b5924c bee_nest | a68b0c hay_block | e5e1cf bone_block | 32422a dried_kelp_block | 7a9c40 moss_block
6b7168 pale_moss_block | 5a8a2c azalea_leaves | 73862c flowering_azalea_leaves flowering_azalea azalea
c87718 pumpkin carved_pumpkin | d78a2a jack_o_lantern | 6f9138 melon | 557f2b cactus | 5f8f2f bamboo | 7f8f39 bamboo_block
c2ad51 stripped_bamboo_block bamboo_mosaic | 94c065 sugar_cane | 957051 brown_mushroom_block brown_mushroom
c82e2d red_mushroom_block red_mushroom | cbc4b9 mushroom_stem | f09b3b shroomlight | 7f5f95 chorus_plant
977897 chorus_flower | 0d1e24 sculk sculk_vein sculk_sensor sculk_catalyst sculk_shrieker | ab8653 glowstone
dd9f5a redstone_lamp | f6e7a1 end_rod | f2c255 torch wall_torch lantern campfire
5fc8cc soul_torch soul_wall_torch soul_lantern soul_campfire soul_fire | c9451f redstone_torch redstone_wall_torch
e58a24 fire | f5ead0 beacon | a9a08a froglight | eae9d5 ochre_froglight | e5f4e4 verdant_froglight
f5f0ef pearlescent_froglight | 755f3d bookshelf chiseled_bookshelf | 7b5a38 crafting_table
6b6b6b furnace blast_furnace smoker dispenser dropper observer | 9b7338 chest trapped_chest | 2d3e40 ender_chest
8a6a3f barrel | a2834f lectern | 8f6f45 loom | 6f6257 cartography_table | c7b98f fletching_table | 39393c smithing_table
8a7f78 stonecutter | 8c8c8c grindstone | 444444 anvil chipped_anvil damaged_anvil | 4a4a4e cauldron water_cauldron hopper
75604c composter | 6a4c3a jukebox note_block | 7b6a4f brewing_stand | 3b2d4e enchanting_table | b4854f scaffolding
7c5f38 ladder | 7f7a6d lever | 8a7a5a tripwire_hook | 9a9a9a tripwire | 8e857a rail | b89a4a powered_rail
8a6f66 detector_rail activator_rail | a99c7a piston | 8f9a6a sticky_piston | 9a8a6a piston_head | 9b2c1c redstone_wire
a3736f repeater comparator | 9c8a6c daylight_detector | 8c7a64 target | a8442e tnt | 8a8f96 lightning_rod
6f7a7e iron_bars chain | c9c9c9 iron_door iron_trapdoor heavy_weighted_pressure_plate
e8c64a bell light_weighted_pressure_plate | 7a4431 flower_pot | 2c3b42 spawner trial_spawner vault | 1f2a30 respawn_anchor
8a8a88 lodestone | 9ea0a0 conduit | 1d1f22 dragon_egg | b1b1ae skeleton_skull skeleton_wall_skull
4f8a3a zombie_head zombie_wall_head creeper_head creeper_wall_head | 8a6a55 player_head
3a3a3a wither_skeleton_skull wither_skeleton_wall_skull | e4e4e4 cobweb | a77b4f command_block
6f9a44 short_grass tall_grass fern large_fern | 4c7a2f vine lily_pad moss_carpet big_dripleaf small_dripleaf hanging_roots
7f6a34 dead_bush | b39b3f wheat | 5f8a3a carrots potatoes beetroots melon_stem pumpkin_stem sweet_berry_bush cocoa
7a1f1c nether_wart crimson_roots crimson_fungus weeping_vines
1f8a80 warped_roots warped_fungus twisting_vines nether_sprouts | f2d33b dandelion sunflower | c8281f poppy rose_bush
2fa8dc blue_orchid cornflower | b57fe0 allium lilac | e6e6e0 azure_bluet | e8e8e4 oxeye_daisy lily_of_the_valley white_tulip
e06a1c orange_tulip torchflower | e3a4cf pink_tulip peony pink_petals | b8281f red_tulip | 26221f wither_rose
3f7a2a kelp kelp_plant seagrass tall_seagrass | 6b8a3a sea_pickle glow_lichen | 3c59c8 tube_coral_block tube_coral
cf5b9f brain_coral_block brain_coral | a51aa2 bubble_coral_block bubble_coral | a3242f fire_coral_block fire_coral
d8c742 horn_coral_block horn_coral | 857d79 dead_tube_coral_block dead_brain_coral_block | c8b593 cake | e0c48a candle
8b5a3c decorated_pot | 4a3b5b shulker_box | d8cfb0 turtle_egg | 0b0b0f nether_portal end_portal end_gateway
46604f end_portal_frame | 4c4a3a mangrove_roots
"""

# Names before 1.13 of blocks that have another name since; a dye or a wood in the block's properties goes before it.
FORMER = """
grass=grass_block grass_path=dirt_path stonebrick=stone_bricks monster_egg=infested_stone planks=oak_planks log=oak_log
log2=acacia_log leaves=oak_leaves leaves2=acacia_leaves sapling=oak_sapling fence=oak_fence fence_gate=oak_fence_gate
trapdoor=oak_trapdoor wooden_door=oak_door wooden_slab=oak_slab double_wooden_slab=oak_planks wooden_button=oak_button
wooden_pressure_plate=oak_pressure_plate standing_sign=oak_sign wall_sign=oak_wall_sign wool=white_wool carpet=white_carpet
concrete=white_concrete concrete_powder=white_concrete_powder stained_hardened_clay=white_terracotta hardened_clay=terracotta
stained_glass=white_stained_glass stained_glass_pane=white_stained_glass_pane bed=red_bed standing_banner=white_banner
wall_banner=white_wall_banner brick_block=bricks nether_brick=nether_bricks red_nether_brick=red_nether_bricks
end_bricks=end_stone_bricks double_stone_slab=smooth_stone double_stone_slab2=red_sandstone stone_slab2=red_sandstone_slab
snow_layer=snow slime=slime_block magma=magma_block lit_furnace=furnace lit_pumpkin=jack_o_lantern
lit_redstone_lamp=redstone_lamp lit_redstone_ore=redstone_ore unlit_redstone_torch=redstone_torch unpowered_repeater=repeater
powered_repeater=repeater unpowered_comparator=comparator powered_comparator=comparator flowing_water=water flowing_lava=lava
tallgrass=short_grass deadbush=dead_bush yellow_flower=dandelion red_flower=poppy double_plant=sunflower waterlily=lily_pad
web=cobweb reeds=sugar_cane melon_block=melon mob_spawner=spawner noteblock=note_block portal=nether_portal
golden_rail=powered_rail skull=skeleton_skull quartz_ore=nether_quartz_ore
"""

# Full blocks that stay where they are put, for cells of any colour.
CUBES = """
stone smooth_stone andesite diorite granite deepslate tuff calcite bricks mud_bricks packed_mud terracotta sandstone
red_sandstone quartz_block nether_bricks red_nether_bricks nether_wart_block warped_wart_block netherrack end_stone
purpur_block prismarine prismarine_bricks dark_prismarine obsidian blackstone basalt moss_block snow_block packed_ice blue_ice
gold_block iron_block diamond_block emerald_block lapis_block redstone_block coal_block copper_block weathered_copper
oxidized_copper amethyst_block honeycomb_block dirt clay
"""
