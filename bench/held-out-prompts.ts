/**
 * Openings that no draft heads were trained on: what `packages/demo-model/train/prompts.py` writes with seed 9001, without
 * what it writes with the seeds that training used.
 */

export const HELD_OUT_PROMPTS: readonly string[] = [
  'Once upon a time there was an old woman with a black cat who went out into the world to seek a golden ring',
  "As the sun went down behind the mountains, a miller's daughter and looked out of the window at a white horse",
  'In the middle of the garden stood a merchant who went out into the world to seek an old letter',
  'In a small house at the edge of the wood lived two sisters who dreamed of the castle',
  'As the sun went down behind the mountains, a clever fox who dreamed of',
  'Many years afterwards the captain of a ship who went out into the world to seek',
  'When the old clock struck twelve, a merchant who wished to see an old letter',
  'In the middle of the garden stood a soldier who had served in the wars and every night there came the moon',
  'When the old clock struck twelve, a young princess and could not find',
  'On the morning of the fair two sisters who never spoke a word until',
  'In the middle of the garden stood a little girl who went out into the world to seek',
  'Far away, beyond the seven hills, there dwelt the captain of a ship who was afraid of the great forest',
  'It happened one winter evening that a wise old owl who never spoke a word until a silver bird',
  'On the morning of the fair a soldier who had served in the wars and said to the others,',
  'One day, when the snow lay deep upon the ground, a soldier who had served in the wars who had lost the well',
  'Many years afterwards a clever fox who was afraid of',
  'Long ago, in a country by the sea, there lived a lonely prince who went out into the world to seek',
  'There was once the captain of a ship who never spoke a word until a golden ring',
  'As the sun went down behind the mountains, a soldier who had served in the wars who was afraid of the sound of the sea',
  'In a small house at the edge of the wood lived two sisters who dreamed of',
  'Once upon a time there was a giant and could not find the sound of the sea',
  'Far away, beyond the seven hills, there dwelt a poor woodcutter and every night there came',
  'One day, when the snow lay deep upon the ground, a little girl who went out into the world to seek the great forest',
  'Many years afterwards a merchant who was afraid of',
  'When the old clock struck twelve, a merchant and sat down beside',
  'There was once a lonely prince who had nothing in the world but',
  'There was once two sisters who wished to see the sound of the sea',
  'Once upon a time there was a tailor who dreamed of the castle',
  'When the old clock struck twelve, a clever fox who had lost the moon',
  'Once upon a time there was a poor woodcutter and every night there came the castle',
  'Far away, beyond the seven hills, there dwelt an old woman with a black cat who was afraid of',
  'There was once a giant who was afraid of the castle',
];
